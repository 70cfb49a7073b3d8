//! The worker host: agent, driver loop, fetch, execute, serve.
