//! The DNS server from outside; hickory reads the answers.

mod answers;
mod samples;
mod served;
