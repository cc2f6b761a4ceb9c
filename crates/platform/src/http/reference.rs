//! Readable documentation of the API, made of its own OpenAPI document.
