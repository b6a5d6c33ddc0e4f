//! The layer's own rules, through mocked services.
