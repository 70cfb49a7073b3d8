//! The function as it is, and beside it a type of its name that is a `grid_sdk::Task`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::options::Options;
use crate::signature::{Function, Input, Output};

/// What `#[task(options)] item` stands for; with mistakes, the item and an error for each.
pub(crate) fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Vec::new();
    let options = Options::parse(options, &mut errors);
    let expansion = match syn::parse2::<Function>(item.clone()) {
        Ok(function) => {
            function.check_kind(&mut errors);
            let inputs = function.inputs(&mut errors);
            let output = function.output(&mut errors);
            Expansion { function, options, inputs, output }.tokens()
        }
        Err(error) => {
            // The compiler would say the same about what is no function or has no body.
            errors.push(error);
            return errors.iter().map(syn::Error::to_compile_error).collect();
        }
    };
    if errors.is_empty() {
        return quote!(#item #expansion);
    }
    let errors = errors.iter().map(syn::Error::to_compile_error);
    quote!(#item #(#errors)*)
}

struct Expansion {
    function: Function,
    options: Options,
    inputs: Vec<Input>,
    output: Output,
}

impl Expansion {
    fn tokens(&self) -> TokenStream {
        let Function { visibility, signature, .. } = &self.function;
        let conditions: Vec<_> = self.function.conditions().collect();
        let ident = &signature.ident;
        let doc = format!("The task `{ident}`, for `{ident}::call`.");
        let call = self.call();
        let task = self.task();
        quote! {
            #(#conditions)*
            #[doc = #doc]
            #[allow(non_camel_case_types, dead_code)]
            #visibility enum #ident {}

            #(#conditions)*
            #[allow(dead_code, clippy::all, clippy::pedantic)]
            impl #ident { #call }

            #(#conditions)*
            #[allow(clippy::all, clippy::pedantic)]
            impl ::grid_sdk::Task for #ident { #task }
        }
    }

    fn call(&self) -> TokenStream {
        let visibility = &self.function.visibility;
        let idents: Vec<_> = self.inputs.iter().map(|input| &input.ident).collect();
        let parameters = self
            .inputs
            .iter()
            .map(|Input { ident, ty, .. }| quote!(#ident: impl ::grid_sdk::IntoArg<#ty>));
        let output = &self.output.ty;
        let pure = self.options.pure;
        quote! {
            /// A call with these arguments: values, calls, or futures.
            #[must_use]
            #visibility fn call(#(#parameters),*) -> ::grid_sdk::Call<#output> {
                ::grid_sdk::Call::from_node(::grid_sdk::CallNode {
                    bundle: ::core::env!("CARGO_PKG_NAME"),
                    task: <Self as ::grid_sdk::Task>::DESCRIPTION.name,
                    pure: #pure,
                    args: ::std::vec![#(::grid_sdk::IntoArg::into_arg(#idents)),*],
                    options: ::core::default::Default::default(),
                    native: ::grid_sdk::export::Native::of::<Self>(),
                })
            }
        }
    }

    fn task(&self) -> TokenStream {
        let description = self.description();
        let ident = &self.function.signature.ident;
        let output = &self.output.ty;
        let count = u32::try_from(self.inputs.len()).unwrap_or(u32::MAX);
        // Local names of this site: a task may be called `arguments` or `output` too.
        let here = Span::mixed_site();
        let locals: Vec<_> = (0..self.inputs.len())
            .map(|index| format_ident!("argument_{index}", span = here))
            .collect();
        let takes = self.inputs.iter().zip(&locals).map(|(Input { name, ty, .. }, local)| {
            let take = quote_spanned!(ty.span() => ::grid_sdk::export::Arguments::take::<#ty>);
            quote_spanned!(here => let #local = #take(&mut arguments, #name)?;)
        });
        let encode = quote_spanned!(output.span() => ::grid_sdk::export::encode::<#output>);
        let written = &self.function.signature.output;
        let report = quote_spanned!(written.span() => ::grid_sdk::export::report);
        let told = Ident::new("told", here.located_at(written.span()));
        let finish = if self.output.can_fail {
            quote_spanned! {here=>
                match #ident(#(#locals),*) {
                    ::core::result::Result::Ok(output) => #encode(output),
                    ::core::result::Result::Err(error) => {
                        use ::grid_sdk::export::{ThrownBox as _, ThrownError as _, ThrownOther as _};
                        let #told = (&&&::grid_sdk::export::Thrown::new(error)).tell();
                        ::core::result::Result::Err(#report(#told))
                    }
                }
            }
        } else {
            quote!(#encode(#ident(#(#locals),*)))
        };
        quote_spanned! {here=>
            type Output = #output;

            const DESCRIPTION: ::grid_sdk::TaskDescription = #description;

            fn run(
                arguments: ::std::vec::Vec<::grid_sdk::Value>,
            ) -> ::core::result::Result<::grid_sdk::Value, ::grid_sdk::export::Failure> {
                #[allow(unused_mut, unused_variables)]
                let mut arguments = ::grid_sdk::export::Arguments::new(arguments, #count)?;
                #(#takes)*
                #finish
            }
        }
    }

    fn description(&self) -> TokenStream {
        let Options { retries, pure, resident, scratch_bytes, reads, writes, .. } = &self.options;
        let name = self.function.signature.ident.unraw().to_string();
        let doc = self.function.doc();
        let parameters = self.inputs.iter().map(|Input { name, shape, ty, .. }| {
            let lazy = quote_spanned!(ty.span() => <#ty as ::grid_sdk::FromValue>::LAZY);
            quote!(::grid_sdk::Parameter { name: #name, shape: #shape, lazy: #lazy })
        });
        let output = &self.output.shape;
        let memory_bytes = optional(self.options.memory_bytes);
        let timeout_ms = optional(self.options.timeout_ms);
        quote! {
            ::grid_sdk::TaskDescription {
                name: #name,
                doc: #doc,
                parameters: &[#(#parameters),*],
                output: #output,
                pure: #pure,
                resident: #resident,
                retries: #retries,
                scratch_bytes: #scratch_bytes,
                memory_bytes: #memory_bytes,
                timeout_ms: #timeout_ms,
                reads: &[#(#reads),*],
                writes: &[#(#writes),*],
            }
        }
    }
}

fn optional(number: Option<u64>) -> TokenStream {
    match number {
        Some(number) => quote!(::core::option::Option::Some(#number)),
        None => quote!(::core::option::Option::None),
    }
}
