//! Integration tests of the fleet. Those that need a broker say so when there is none.

mod amqp;
