//! Who a caller is: tokens of an issuer, client certificates, and everything that must not pass for
//! either.

mod administration;
mod attacks;
mod base;
mod certificates;
pub mod issuer;
mod reports;
mod sso;
mod tokens;
