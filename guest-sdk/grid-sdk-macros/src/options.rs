//! The options in the parentheses of `#[task(...)]`.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprArray, ExprLit, Ident, Lit, LitStr, Token};

use crate::units;

const KNOWN: [&str; 8] =
    ["memory", "timeout", "retries", "pure", "resident", "scratch", "reads", "writes"];

/// What the author asks for.
pub(crate) struct Options {
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) retries: u32,
    pub(crate) pure: bool,
    pub(crate) resident: bool,
    pub(crate) scratch_bytes: u64,
    pub(crate) reads: Vec<String>,
    pub(crate) writes: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_bytes: None,
            timeout_ms: None,
            retries: 0,
            pure: true,
            resident: false,
            scratch_bytes: 0,
            reads: Vec::new(),
            writes: Vec::new(),
        }
    }
}

/// `name = value`, or `name` alone.
struct Setting {
    name: Ident,
    value: Option<Expr>,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.parse()?;
        let value = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        Ok(Self { name, value })
    }
}

impl Options {
    /// Reads the options; what is wrong goes to `errors`, all of it.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Vec<syn::Error>) -> Self {
        let mut options = Self::default();
        let settings = match Punctuated::<Setting, Token![,]>::parse_terminated.parse2(tokens) {
            Ok(settings) => settings,
            Err(error) => {
                errors.push(error);
                return options;
            }
        };
        let mut seen: Vec<&Ident> = Vec::new();
        for setting in &settings {
            if seen.contains(&&setting.name) {
                let message = format!("`{}` is given twice", setting.name);
                errors.push(syn::Error::new(setting.name.span(), message));
                continue;
            }
            seen.push(&setting.name);
            if let Err(error) = options.set(setting) {
                errors.push(error);
            }
        }
        options
    }

    fn set(&mut self, setting: &Setting) -> syn::Result<()> {
        let name = &setting.name;
        if !KNOWN.iter().any(|known| name == known) {
            let known = KNOWN.map(|known| format!("`{known}`"));
            let (last, others) = known.split_last().expect("there are some");
            let options = format!("{} and {last}", others.join(", "));
            let message = format!("there is no option `{name}`; the options are {options}");
            return Err(syn::Error::new(name.span(), message));
        }
        let Some(value) = &setting.value else {
            if name == "resident" {
                self.resident = true;
                return Ok(());
            }
            let message = format!("`{name}` wants a value: `{name} = ...`");
            return Err(syn::Error::new(name.span(), message));
        };
        match name.to_string().as_str() {
            "memory" => self.memory_bytes = Some(measured(value, "64MiB", units::bytes)?),
            "timeout" => self.timeout_ms = Some(measured(value, "5s", units::milliseconds)?),
            "retries" => self.retries = number(value)?,
            "pure" => self.pure = truth(value)?,
            "resident" => self.resident = truth(value)?,
            "scratch" => self.scratch_bytes = measured(value, "64MiB", units::bytes)?,
            "reads" => self.reads = paths(value)?,
            _ => self.writes = paths(value)?,
        }
        Ok(())
    }
}

fn measured(
    value: &Expr,
    example: &str,
    read: fn(&str) -> Result<u64, String>,
) -> syn::Result<u64> {
    let Some(text) = literal(value) else {
        return Err(syn::Error::new_spanned(value, format!("write a text, like `\"{example}\"`")));
    };
    read(&text.value()).map_err(|message| syn::Error::new_spanned(text, message))
}

fn number(value: &Expr) -> syn::Result<u32> {
    if let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = value
        && let Ok(number) = number.base10_parse()
    {
        return Ok(number);
    }
    Err(syn::Error::new_spanned(value, "write a number from 0, like `2`"))
}

fn truth(value: &Expr) -> syn::Result<bool> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Bool(truth), .. }) => Ok(truth.value()),
        _ => Err(syn::Error::new_spanned(value, "write `true` or `false`")),
    }
}

fn paths(value: &Expr) -> syn::Result<Vec<String>> {
    match value {
        Expr::Array(ExprArray { elems, .. }) => elems.iter().map(path).collect(),
        _ => Ok(vec![path(value)?]),
    }
}

fn path(value: &Expr) -> syn::Result<String> {
    let wrong = || {
        let message =
            "write an absolute path or a URL, like `\"/flights\"` or `\"s3://bucket/flights/\"`";
        syn::Error::new_spanned(value, message)
    };
    let text = literal(value).ok_or_else(wrong)?.value();
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let are_plain = |names: &str| names.split('/').all(is_plain);
    let right = match text.split_once("://") {
        // The scheme alone stands for all that there is of it.
        Some(("s3" | "memory", rest)) => {
            rest.is_empty() || are_plain(rest.strip_suffix('/').unwrap_or(rest))
        }
        Some(("file", rest)) => match rest.strip_prefix('/') {
            Some(rest) => rest.is_empty() || are_plain(rest.strip_suffix('/').unwrap_or(rest)),
            None => rest.is_empty(),
        },
        Some(_) => false,
        None => text.strip_prefix('/').is_some_and(are_plain),
    };
    if right { Ok(text) } else { Err(wrong()) }
}

fn literal(value: &Expr) -> Option<&LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text),
        _ => None,
    }
}
