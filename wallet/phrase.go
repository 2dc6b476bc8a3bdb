package wallet

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/btcsuite/btcd/btcutil/hdkeychain"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/tyler-smith/go-bip39"

	"github.com/assent-wallet/assent/consent"
)

const entropySize = 32 // bytes, of a new wallet: 24 words

// NewEntropy draws the 32 bytes that a new wallet is made of. random must be
// cryptographically secure.
func NewEntropy(random io.Reader) ([]byte, error) {
	entropy := make([]byte, entropySize)
	if _, err := io.ReadFull(random, entropy); err != nil {
		return nil, fmt.Errorf("draw the secret of a wallet: %w", err)
	}
	return entropy, nil
}

// Phrase gives the recovery phrase of 16, 20, 24, 28 or 32 bytes of entropy: 12
// to 24 English words (BIP-39) with a space between them.
func Phrase(entropy []byte) (string, error) {
	phrase, err := bip39.NewMnemonic(entropy)
	if err != nil {
		return "", fmt.Errorf("%d bytes of entropy: want 16, 20, 24, 28 or 32", len(entropy))
	}
	return phrase, nil
}

// ParsePhrase gives the entropy of a recovery phrase of 12, 15, 18, 21 or 24
// English words, in any case and with any white space between them. The error
// names the first word that is not in the list of BIP-39, and nothing else of
// the phrase.
func ParsePhrase(phrase string) (entropy []byte, err error) {
	words := strings.Fields(strings.ToLower(phrase))
	switch len(words) {
	case 12, 15, 18, 21, 24:
	default:
		return nil, fmt.Errorf("the recovery phrase has %d words: want 12, 15, 18, 21 or 24", len(words))
	}
	for i, word := range words {
		if _, known := bip39.GetWordIndex(word); !known {
			return nil, fmt.Errorf("word %d %s is not in the list of BIP-39: look for a typing error", i+1, consent.Quote(word))
		}
	}
	entropy, err = bip39.EntropyFromMnemonic(strings.Join(words, " "))
	if err != nil {
		return nil, errors.New("the checksum of the recovery phrase is wrong: all its words are in the list, but one is not the right one, or two changed places")
	}
	return entropy, nil
}

// derive gives the key at m/44'/60'/0'/0/0 (BIP-32, BIP-44) of the phrase that
// the entropy stands for, without a passphrase, so that other wallets restore
// the same address from the same words.
func derive(entropy []byte) (*ecdsa.PrivateKey, error) {
	phrase, err := Phrase(entropy)
	if err != nil {
		return nil, err
	}
	seed := bip39.NewSeed(phrase, "")
	defer clear(seed)
	key, err := hdkeychain.NewMaster(seed, &chaincfg.MainNetParams)
	if err != nil {
		return nil, fmt.Errorf("derive the key: %w", err)
	}
	const hardened = hdkeychain.HardenedKeyStart
	for _, child := range []uint32{hardened + 44, hardened + 60, hardened, 0, 0} {
		parent := key
		key, err = parent.Derive(child)
		parent.Zero()
		if err != nil {
			return nil, fmt.Errorf("derive the key: %w", err)
		}
	}
	defer key.Zero()
	private, err := key.ECPrivKey()
	if err != nil {
		return nil, fmt.Errorf("derive the key: %w", err)
	}
	defer private.Zero()
	scalar := private.Serialize()
	defer clear(scalar)
	return crypto.ToECDSA(scalar)
}
