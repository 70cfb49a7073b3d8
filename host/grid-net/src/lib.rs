//! quinn and nothing else: endpoints, identity, typed streams, bulk transfer, in-memory twin.
