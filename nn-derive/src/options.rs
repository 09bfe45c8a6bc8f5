//! What `#[module(…)]` says.

use syn::{Attribute, LitStr, Path, Result, Type};

/// The attributes of a struct.
#[derive(Default)]
pub struct StructOptions {
    pub backend: Option<Type>,
    pub extra_repr: Option<Path>,
    pub type_name: Option<Path>,
    pub flops: Option<Path>,
    pub krate: Option<Path>,
}

impl StructOptions {
    pub fn parse(attrs: &[Attribute]) -> Result<Self> {
        let mut options = StructOptions::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("module")) {
            attr.parse_nested_meta(|meta| {
                if meta.path.is_ident("backend") {
                    options.backend = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("extra_repr") {
                    options.extra_repr = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("type_name") {
                    options.type_name = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("flops") {
                    options.flops = Some(meta.value()?.parse()?);
                } else if meta.path.is_ident("crate") {
                    options.krate = Some(meta.value()?.parse()?);
                } else {
                    return Err(meta.error(
                        "a struct takes `backend = Type`, `extra_repr = path`, `type_name = path`, \
                         `flops = path` or `crate = path`",
                    ));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}

/// The attributes of a field.
#[derive(Default)]
pub struct FieldOptions {
    pub skip: bool,
    pub rename: Option<String>,
}

impl FieldOptions {
    pub fn parse(attrs: &[Attribute]) -> Result<Self> {
        let mut options = FieldOptions::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("module")) {
            attr.parse_nested_meta(|meta| {
                if meta.path.is_ident("skip") {
                    options.skip = true;
                } else if meta.path.is_ident("rename") {
                    options.rename = Some(meta.value()?.parse::<LitStr>()?.value());
                } else {
                    return Err(meta.error("a field takes `skip` or `rename = \"name\"`"));
                }
                Ok(())
            })?;
        }
        Ok(options)
    }
}
