//! URLs that stand for several. What they fit is decided here and not by the worker, so that a costly one
//! costs its own call.

/// A URL with `*`, `?`, `[...]` or `**` in it.
#[derive(Debug)]
pub(super) struct Pattern {
    /// What all that it fits lies below.
    below: String,
    names: Vec<Name>,
}

/// What stands between two slashes.
#[derive(Debug)]
enum Name {
    /// `**`.
    Any,
    Parts(Vec<Part>),
}

#[derive(Debug)]
enum Part {
    /// `*`.
    Any,
    /// `?`.
    One,
    Char(char),
    Set {
        not: bool,
        ranges: Vec<(char, char)>,
    },
}

const SPECIAL: [char; 3] = ['*', '?', '['];

impl Pattern {
    /// `None` if there is nothing special in the URL.
    pub(super) fn of(url: &str) -> Option<Self> {
        let special = url.find(SPECIAL)?;
        let plain = url[..special].rfind('/').map_or(0, |slash| slash + 1);
        Some(Self { below: url[..plain].to_owned(), names: url.split('/').map(Name::of).collect() })
    }

    pub(super) fn below(&self) -> &str {
        &self.below
    }

    pub(super) fn fits(&self, url: &str) -> bool {
        let names: Vec<_> = url.split('/').collect();
        fit(&self.names, &names, |name| matches!(name, Name::Any), |name, text| name.fits(text))
    }
}

impl Name {
    fn of(text: &str) -> Self {
        if text == "**" {
            return Self::Any;
        }
        let mut parts = Vec::new();
        let mut rest = text.chars();
        while let Some(char) = rest.next() {
            parts.push(match char {
                '*' => Part::Any,
                '?' => Part::One,
                '[' => match Part::set(rest.as_str()) {
                    Some((set, behind)) => {
                        rest = behind.chars();
                        set
                    }
                    // Without an end it is none.
                    None => Part::Char('['),
                },
                char => Part::Char(char),
            });
        }
        Self::Parts(parts)
    }

    fn fits(&self, text: &str) -> bool {
        let Self::Parts(parts) = self else { return true };
        let chars: Vec<_> = text.chars().collect();
        fit(parts, &chars, |part| matches!(part, Part::Any), |part, char| part.fits(*char))
    }
}

impl Part {
    /// What stands behind a `[`, and what is behind the set. A `]` in front is one of the set.
    fn set(text: &str) -> Option<(Self, &str)> {
        let (not, text) = match text.strip_prefix('!') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let end = text.char_indices().skip(1).find(|(_, char)| *char == ']')?.0;
        let chars: Vec<_> = text[..end].chars().collect();
        let mut ranges = Vec::new();
        let mut rest = &chars[..];
        while let [first, behind @ ..] = rest {
            rest = match behind {
                ['-', last, behind @ ..] => {
                    ranges.push((*first, *last));
                    behind
                }
                behind => {
                    ranges.push((*first, *first));
                    behind
                }
            };
        }
        Some((Self::Set { not, ranges }, &text[end + 1..]))
    }

    fn fits(&self, char: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Char(own) => *own == char,
            Self::Set { not, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&char)) != *not
            }
        }
    }
}

/// Whether a pattern fits all of a text. What stands for any number is tried with ever more, but only the
/// last of them: so the time is at most that of one length times the other.
fn fit<P, T>(
    pattern: &[P],
    text: &[T],
    is_any: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut last_any = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(part) if is_any(part) => {
                last_any = Some((at, seen));
                at += 1;
            }
            Some(part) if fits(part, &text[seen]) => {
                at += 1;
                seen += 1;
            }
            _ => {
                let Some((any, taken)) = last_any else { return false };
                last_any = Some((any, taken + 1));
                at = any + 1;
                seen = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, url: &str) -> bool {
        Pattern::of(pattern).unwrap().fits(url)
    }

    #[test]
    fn a_url_without_anything_special_is_none() {
        assert!(Pattern::of("s3://bucket/a/b.csv").is_none());
        assert_eq!(Pattern::of("s3://bucket/a/b-*/c.csv").unwrap().below(), "s3://bucket/a/");
        assert_eq!(Pattern::of("s3://bucket/?").unwrap().below(), "s3://bucket/");
    }

    #[test]
    fn names_are_fitted_as_in_a_shell() {
        for (pattern, url) in [
            ("s3://b/*.csv", "s3://b/x.csv"),
            ("s3://b/*.csv", "s3://b/.csv"),
            ("s3://b/a*b*c", "s3://b/aXbXbc"),
            ("s3://b/2013-??.csv", "s3://b/2013-01.csv"),
            ("s3://b/[a-c]x", "s3://b/bx"),
            ("s3://b/[!a-c]x", "s3://b/dx"),
            ("s3://b/[]]x", "s3://b/]x"),
            ("s3://b/[x*", "s3://b/[xy"),
            ("s3://b/**", "s3://b/x/y/z"),
            ("s3://b/**/z", "s3://b/z"),
            ("s3://b/**/z", "s3://b/x/y/z"),
            ("s3://b/*/z", "s3://b/ü/z"),
        ] {
            assert!(fits(pattern, url), "{pattern} {url}");
        }
        for (pattern, url) in [
            ("s3://b/*.csv", "s3://b/x/y.csv"),
            ("s3://b/*.csv", "s3://b/x.csv.gz"),
            ("s3://b/?", "s3://b/xy"),
            ("s3://b/[!a-c]x", "s3://b/ax"),
            ("s3://b/**/z", "s3://b/x/zz"),
            ("s3://b/a**b", "s3://b/a/b"),
        ] {
            assert!(!fits(pattern, url), "{pattern} {url}");
        }
    }

    #[test]
    fn many_stars_cost_no_eternity() {
        let pattern = format!("s3://b/{}b", "a*".repeat(200));
        assert!(!fits(&pattern, &format!("s3://b/{}", "a".repeat(1_000))));
    }
}
