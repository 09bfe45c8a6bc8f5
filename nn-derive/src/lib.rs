//! `#[derive(Module)]`: see the trait `Module` of `kiln-nn` for what it gives.
#![forbid(unsafe_code)]

mod backend;
mod options;

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Index, Member, Result, parse_macro_input};

use options::{FieldOptions, StructOptions};

/// Implements `Module` and `Display` for a struct.
///
/// Every field takes part by its type: modules are children, `Param` and `Buffer` are what they say,
/// `Option`, `Vec`, arrays, tuples and `Box` of those as well; numbers, strings, plain tensors and the
/// like are left alone. A field of another type does not compile until it says what it is.
///
/// | attribute | on | meaning |
/// |---|---|---|
/// | `#[module(skip)]` | a field | it has no part in the module, whatever its type |
/// | `#[module(rename = "name")]` | a field | its name in paths and in state dicts |
/// | `#[module(backend = Type)]` | the struct | the backend, where no field tells it |
/// | `#[module(extra_repr = path)]` | the struct | `fn(&Self) -> String`, shown inside the parentheses |
/// | `#[module(type_name = path)]` | the struct | `fn(&Self) -> &'static str`, shown before the parentheses |
/// | `#[module(flops = path)]` | the struct | `fn(&Self, &Shape, &Shape) -> u64`, what one call costs by its input and output, for `summary` |
/// | `#[module(crate = path)]` | the struct | where `kiln-nn` is, if it is neither a dependency nor `kiln::nn` |
///
/// The backend is the type parameter that is bounded by `Backend`, or else that of the first field
/// which has one.
#[proc_macro_derive(Module, attributes(module))]
pub fn derive_module(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "a module is a struct; put an enum's choice into a field, such as `Box<dyn Forward>`",
        ));
    };
    let options = StructOptions::parse(&input.attrs)?;
    let fields = fields(&data.fields)?;
    let nn = match &options.krate {
        Some(path) => quote!(#path),
        None => nn_path(),
    };
    let backend = match &options.backend {
        Some(ty) => quote!(#ty),
        None => backend::infer(input, &fields, &nn)?,
    };
    let name = input.ident.to_string();
    let ident = &input.ident;
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();

    let visits = fields.iter().filter(|f| !f.options.skip).map(|field| {
        let (member, name, ty) = (&field.member, &field.name, field.ty);
        // Spans of the type, so that an error points at the field.
        quote_spanned! {ty.span()=>
            <#ty as #nn::Field<Self::Backend>>::visit_field(&self.#member, #name, visitor);
        }
    });
    let hooks = fields.iter().filter(|f| !f.options.skip && is_hooks(f.ty)).map(|f| &f.member);
    let hooks = hooks.take(1).map(|member| {
        quote! {
            fn hooks(&self) -> ::core::option::Option<&#nn::Hooks<Self::Backend>> {
                ::core::option::Option::Some(&self.#member)
            }
        }
    });
    let extra_repr = options.extra_repr.iter().map(|path| {
        quote! {
            fn extra_repr(&self) -> ::std::string::String {
                #path(self)
            }
        }
    });

    let flops = options.flops.iter().map(|path| {
        quote! {
            fn flops(
                &self,
                input: &#nn::Shape,
                output: &#nn::Shape,
            ) -> ::core::option::Option<u64> {
                ::core::option::Option::Some(#path(self, input, output))
            }
        }
    });

    let type_name = match &options.type_name {
        Some(path) => quote!(#path(self)),
        None => quote!(#name),
    };

    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #nn::Module for #ident #ty_generics #where_clause {
            type Backend = #backend;

            fn visit<'__module>(
                &'__module self,
                visitor: &mut dyn #nn::Visitor<'__module, Self::Backend>,
            ) {
                let _ = &visitor;
                #(#visits)*
            }

            fn as_dyn(&self) -> &dyn #nn::Module<Backend = Self::Backend> {
                self
            }

            fn type_name(&self) -> &'static str {
                #type_name
            }

            #(#hooks)*
            #(#extra_repr)*
            #(#flops)*
        }

        /// The module as a tree, one line a module, as PyTorch prints it.
        #[automatically_derived]
        impl #impl_generics ::core::fmt::Display for #ident #ty_generics #where_clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(#nn::Module::as_dyn(self), f)
            }
        }
    })
}

/// A field of the struct, with what the attributes say about it.
struct Field<'a> {
    member: Member,
    name: String,
    ty: &'a syn::Type,
    options: FieldOptions,
}

fn fields(fields: &Fields) -> Result<Vec<Field<'_>>> {
    let parsed = fields.iter().enumerate().map(|(i, field)| {
        let options = FieldOptions::parse(&field.attrs)?;
        let member = match &field.ident {
            Some(ident) => Member::Named(ident.clone()),
            None => Member::Unnamed(Index::from(i)),
        };
        let name = options.rename.clone().unwrap_or_else(|| match &field.ident {
            Some(ident) => syn::ext::IdentExt::unraw(ident).to_string(),
            None => i.to_string(),
        });
        Ok(Field { member, name, ty: &field.ty, options })
    });
    parsed.collect()
}

fn is_hooks(ty: &syn::Type) -> bool {
    backend::last_segment(ty).is_some_and(|segment| segment.ident == "Hooks")
}

/// The path of `kiln-nn` in the crate that is compiled: a dependency of its own, or inside `kiln`.
fn nn_path() -> TokenStream {
    use proc_macro_crate::{FoundCrate, crate_name};
    let found = |package: &str, itself: &str| match crate_name(package) {
        Ok(FoundCrate::Itself) => Some(format_ident!("{itself}")),
        Ok(FoundCrate::Name(name)) => Some(format_ident!("{name}")),
        Err(_) => None,
    };
    if let Some(name) = found("kiln-nn", "kiln_nn") {
        return quote!(::#name);
    }
    match found("kiln", "kiln") {
        Some(name) => quote!(::#name::nn),
        None => quote!(::kiln_nn),
    }
}
