//! The contract of this concern's store, held by memory and Redis alike.
