//! kaiser
