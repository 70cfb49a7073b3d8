//! What the macro needs to know of the function, and what a task's function cannot be.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Expr, ExprLit, FnArg, GenericArgument, Ident, Lit, Meta, Pat, PathArguments,
    ReturnType, Safety, Signature, Token, Type, Visibility,
};

/// A function as it is written, its body unread: the compiler reads it anyhow.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let is_function = {
            let ahead = input.fork();
            ahead.parse::<Signature>().is_ok() || input.peek(Token![fn])
        };
        if !is_function {
            return Err(input.error("`#[task]` belongs on a function"));
        }
        let signature: Signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(input.error("a task needs a body"));
        }
        input.parse::<TokenStream>()?;
        Ok(Self { attributes, visibility, signature })
    }
}

/// A parameter that a task can have.
pub(crate) struct Input {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) shape: String,
}

/// What a call gives.
pub(crate) struct Output {
    /// The type of the result; of `Ok` where the function can fail.
    pub(crate) ty: Type,
    /// The function returns a `Result`.
    pub(crate) can_fail: bool,
    pub(crate) shape: String,
}

impl Function {
    /// The first paragraph of the documentation, in one line.
    pub(crate) fn doc(&self) -> String {
        let lines = self.attributes.iter().filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
                Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let paragraph = text.lines().map(str::trim).skip_while(|line| line.is_empty());
        paragraph.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// Attributes that decide whether the function is there at all.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"))
    }

    /// What a task's function cannot be, apart from its parameters and its result.
    pub(crate) fn check_kind(&self, errors: &mut Vec<syn::Error>) {
        let signature = &self.signature;
        let mut refuse = |tokens: &dyn ToTokens, message: &str| {
            errors.push(syn::Error::new_spanned(tokens.to_token_stream(), message));
        };
        if let Some(token) = &signature.asyncness {
            refuse(token, "a task cannot be `async`: a sandbox runs one call at a time");
        }
        if let Safety::Unsafe(token) = &signature.safety {
            refuse(token, "a task cannot be `unsafe`: any client may call it");
        }
        if let Some(abi) = &signature.abi {
            refuse(abi, "a task is a plain Rust function, without an ABI");
        }
        if let Some(variadic) = &signature.variadic {
            refuse(variadic, "a task takes a fixed number of arguments");
        }
        if !signature.generics.params.is_empty() {
            let message = "a task cannot be generic: a bundle holds one machine code for it";
            refuse(&signature.generics, message);
        }
        if let Some(clause) = &signature.generics.where_clause {
            refuse(clause, "a task cannot be generic, so it needs no `where`");
        }
    }

    /// The parameters that a task can have; what is wrong with others goes to `errors`.
    pub(crate) fn inputs(&self, errors: &mut Vec<syn::Error>) -> Vec<Input> {
        let mut inputs = Vec::new();
        for argument in &self.signature.inputs {
            match input(argument) {
                Ok(input) => inputs.push(input),
                Err(error) => errors.push(error),
            }
        }
        inputs
    }

    /// The result.
    pub(crate) fn output(&self, errors: &mut Vec<syn::Error>) -> Output {
        let unit: Type = syn::parse_quote!(());
        let ReturnType::Type(_, written) = &self.signature.output else {
            return Output { ty: unit, can_fail: false, shape: "()".to_owned() };
        };
        let (ty, can_fail) = match result(written) {
            None => ((**written).clone(), false),
            Some(Some(ty)) => (ty, true),
            Some(None) => {
                let message = "write it as `Result<T, E>`: the type of `T` must be seen here";
                errors.push(syn::Error::new_spanned(written, message));
                (unit, true)
            }
        };
        errors.extend(check_type(&ty, "return").err());
        Output { shape: shape(&ty), ty, can_fail }
    }
}

fn input(argument: &FnArg) -> syn::Result<Input> {
    let typed = match argument {
        FnArg::Typed(typed) => typed,
        FnArg::Receiver(receiver) => {
            let message = "a task is a free function: it has no `self`";
            return Err(syn::Error::new_spanned(receiver, message));
        }
    };
    let ident = match &*typed.pat {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
            pattern.ident.clone()
        }
        other => {
            let message = "give the parameter a plain name: callers see it";
            return Err(syn::Error::new_spanned(other, message));
        }
    };
    check_type(&typed.ty, "take")?;
    Ok(Input {
        name: ident.unraw().to_string(),
        ident,
        shape: shape(&typed.ty),
        ty: (*typed.ty).clone(),
    })
}

/// The type of `Ok`: the outer option says that the type is a `Result`, the inner one holds it.
fn result(ty: &Type) -> Option<Option<Type>> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return Some(None);
    };
    Some(arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    }))
}

/// Values cross the wall of a sandbox by their bytes, so their types own what they hold.
fn check_type(ty: &Type, verb: &str) -> syn::Result<()> {
    if contains(ty.to_token_stream(), "impl") {
        let message = format!("a task has one type here: {verb} a named type, not `impl Trait`");
        return Err(syn::Error::new_spanned(ty, message));
    }
    if contains(ty.to_token_stream(), "&") {
        let message = match owned(ty) {
            Some(owned) => format!(
                "values of a task own what they hold: {verb} `{owned}`, not `{}`",
                shape(ty),
            ),
            None => format!("values of a task own what they hold: {verb} a type without `&`"),
        };
        return Err(syn::Error::new_spanned(ty, message));
    }
    Ok(())
}

fn contains(tokens: TokenStream, wanted: &str) -> bool {
    tokens.into_iter().any(|tree| match tree {
        TokenTree::Group(group) => contains(group.stream(), wanted),
        TokenTree::Punct(punct) => wanted.len() == 1 && wanted.starts_with(punct.as_char()),
        TokenTree::Ident(ident) => ident == wanted,
        TokenTree::Literal(_) => false,
    })
}

/// What to write in the place of a reference.
fn owned(ty: &Type) -> Option<String> {
    let Type::Reference(reference) = ty else {
        return None;
    };
    Some(match &*reference.elem {
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        Type::Slice(slice) => format!("Vec<{}>", shape(&slice.elem)),
        other => shape(other),
    })
}

/// The text of a type, with spaces only where two words would become one.
fn shape(ty: &Type) -> String {
    let mut text = String::new();
    for word in quote!(#ty).to_string().split_whitespace() {
        let is_letter = |c: char| c.is_alphanumeric() || c == '_';
        if text.ends_with(is_letter) && word.starts_with(is_letter) {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}
