//! The library that users' programs link: submit, gather, deploy.
