// Package registry holds the contract Registry.sol, its bindings, the client
// that writes to it and reads it on any Ethereum-compatible chain, and the Mirror,
// a copy of its entries on disk that follows such a chain.
//
// The client takes a Network of several endpoints and uses the first that
// answers in time, is on the right chain and has the contract's very code at
// the registry's address. What it writes it sees through: it waits for the
// confirmations, replaces a transaction that is stuck, and sends again what was
// dropped; what is there already it does not send. The Mirror knows the block and
// the age of what it gives, and what was revoked or retired it never takes back.
//
// It never decides (package consent does, and Check asks the contract), never
// takes a read that failed for an absence, and never holds a key: a Payer
// signs the transactions.
package registry

//go:generate npm ci --ignore-scripts --no-audit --no-fund
//go:generate node compile.mjs
//go:generate go tool abigen --v2 --abi Registry.abi --bin Registry.bin --pkg registry --type Contract --out bindings.go
