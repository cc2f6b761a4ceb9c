//! The Antiphon algorithm registry: audio in, features out.
//!
//! One algorithm is one file: its [`descriptor::Descriptor`], its code, its tests. [`registry`] is the one
//! static table from which the command line, the API schema, the documentation and validation come.

pub mod algorithm;
pub mod descriptor;
