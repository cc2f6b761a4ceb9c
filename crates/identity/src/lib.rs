//! API keys and who may do what.
//!
//! [`Keys`] checks them, [`authenticate`] is the layer that does so for a router, and [`Principal`] says what is
//! allowed. The functions that make and revoke keys take the caller's transaction, so that a sensor
//! and its first key appear together.

mod check;
mod keys;
mod principal;
mod routes;
mod token;

pub use check::{KeyId, Keys, Options, authenticate};
pub use keys::{
    MIGRATIONS, NewKey, Role, STATEMENTS, StoredKey, create_key, has_operator, list_keys, list_sensor_keys, revoke_key,
    revoke_sensor, revoke_sensor_key,
};
pub use principal::Principal;
pub use routes::{Api, KeyInfo, routes};
pub use token::LocalToken;
