// Package wallet is a person's wallet: the secret in the keyring of the
// operating system or in an encrypted file, the key derived from it, typed
// signing, the sealed store of documents, the settings, and the use cases
// (grant, revoke, request, access, list) that the commands and the terminal app
// both call.
//
// It never decides whether an access is permitted: that is package consent's.
// It never lets a private key, the secret or a password out, into an error or
// into a log; it signs only documents of the Assent protocol and transactions
// that move no coins, never a bare hash; and it never falls back from one place
// of the secret to another.
package wallet
