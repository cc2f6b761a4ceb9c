//! The RabbitMQ engine.

pub mod names;
