//! The routes received from the neighbour (Adj-RIB-In) and what policy makes of them.
