//! Reserve, then settle: what an admitted request holds is given back exactly once, whatever happens.
