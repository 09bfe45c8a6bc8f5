//! Which backend a module is on, told from its declaration alone.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    DeriveInput, Error, GenericArgument, GenericParam, PathArguments, PathSegment, Result, Type,
    TypeParamBound, WherePredicate,
};

use crate::Field;

/// The type parameter that is bounded by `Backend`, or else the backend of the first field that is not
/// plain data.
pub fn infer(input: &DeriveInput, fields: &[Field<'_>], nn: &TokenStream) -> Result<TokenStream> {
    if let Some(param) = backend_param(input) {
        return Ok(param);
    }
    match fields.iter().find(|field| !field.options.skip && !is_plain(field.ty)) {
        Some(field) => {
            let ty = field.ty;
            Ok(quote!(<#ty as #nn::HasBackend>::Backend))
        }
        None => Err(Error::new_spanned(
            &input.ident,
            "no field tells the backend of this module; add `#[module(backend = Type)]`, or a field \
             `hooks: Hooks`",
        )),
    }
}

fn backend_param(input: &DeriveInput) -> Option<TokenStream> {
    let of_params = input.generics.params.iter().find_map(|param| match param {
        GenericParam::Type(param) if param.bounds.iter().any(is_backend) => {
            let ident = &param.ident;
            Some(quote!(#ident))
        }
        _ => None,
    });
    of_params.or_else(|| {
        let clause = input.generics.where_clause.as_ref()?;
        clause.predicates.iter().find_map(|predicate| match predicate {
            WherePredicate::Type(p) if p.bounds.iter().any(is_backend) => {
                let ty = &p.bounded_ty;
                Some(quote!(#ty))
            }
            _ => None,
        })
    })
}

fn is_backend(bound: &TypeParamBound) -> bool {
    match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().is_some_and(|segment| segment.ident == "Backend")
        }
        _ => false,
    }
}

/// Types that say nothing about a backend, alone or in `Option`, `Vec`, arrays and tuples.
fn is_plain(ty: &Type) -> bool {
    const PLAIN: [&str; 22] = [
        "bool",
        "char",
        "f32",
        "f64",
        "i8",
        "i16",
        "i32",
        "i64",
        "i128",
        "isize",
        "u8",
        "u16",
        "u32",
        "u64",
        "u128",
        "usize",
        "String",
        "PhantomData",
        "PathBuf",
        "Duration",
        "Shape",
        "DType",
    ];
    match ty {
        Type::Reference(_) | Type::BareFn(_) => true,
        Type::Array(array) => is_plain(&array.elem),
        Type::Paren(inner) => is_plain(&inner.elem),
        Type::Tuple(tuple) => tuple.elems.iter().all(is_plain),
        _ => last_segment(ty).is_some_and(|segment| {
            PLAIN.iter().any(|plain| segment.ident == plain)
                || (["Option", "Vec", "Box"].iter().any(|wrapper| segment.ident == wrapper)
                    && arguments(segment).all(is_plain))
        }),
    }
}

fn arguments(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(arguments.args.iter()),
        _ => None,
    };
    arguments.into_iter().flatten().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

pub fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}
