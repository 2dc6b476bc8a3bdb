package wallet

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"pgregory.net/rapid"
)

// The addresses that other wallets give for these phrases at m/44'/60'/0'/0/0.
var phrases = []struct{ phrase, entropy, address string }{
	{"test test test test test test test test test test test junk",
		"df9bf37e6fcdf9bf37e6fcdf9bf37e3c", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"},
	{"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
		"00000000000000000000000000000000", "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"},
	{"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon " +
		"abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon art",
		"0000000000000000000000000000000000000000000000000000000000000000", "0xF278cF59F82eDcf871d630F28EcC8056f25C1cdb"},
}

func TestPhraseGivesTheAddressOfOtherWallets(t *testing.T) {
	for _, want := range phrases {
		t.Run(want.address, func(t *testing.T) {
			entropy, err := ParsePhrase(want.phrase)
			if err != nil || hex.EncodeToString(entropy) != want.entropy {
				t.Fatalf("entropy %x, %v: want %s", entropy, err, want.entropy)
			}
			if phrase, err := Phrase(entropy); phrase != want.phrase {
				t.Errorf("phrase %q, %v: want %q", phrase, err, want.phrase)
			}
			key, err := NewKey(entropy)
			if err != nil {
				t.Fatal(err)
			}
			if key.Address().Hex() != want.address {
				t.Errorf("address %s", key.Address())
			}
		})
	}
}

// The first private key of the phrase that development chains share.
func TestDeriveGivesThePrivateKeyOfOtherWallets(t *testing.T) {
	entropy, err := ParsePhrase(phrases[0].phrase)
	if err != nil {
		t.Fatal(err)
	}
	private, err := derive(entropy)
	if err != nil {
		t.Fatal(err)
	}
	want := common.FromHex("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
	if !bytes.Equal(crypto.FromECDSA(private), want) {
		t.Error("another private key than other wallets derive")
	}
}

func TestParsePhraseReadsWhatPhraseWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{16, 20, 24, 28, 32}).Draw(t, "size")
		entropy := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "entropy")
		phrase, err := Phrase(entropy)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePhrase("\n " + strings.ToUpper(strings.ReplaceAll(phrase, " ", " \t")) + "\n")
		if err != nil || !bytes.Equal(again, entropy) {
			t.Fatalf("%x, %v: want %x", again, err, entropy)
		}
	})
}

func TestParsePhraseErrors(t *testing.T) {
	abandon := strings.Repeat("abandon ", 11)
	for _, c := range []struct{ name, phrase, want string }{
		{"empty", " ", "0 words: want 12, 15, 18, 21 or 24"},
		{"a word too many", abandon + "about about", "13 words"},
		{"three words", "abandon abandon about", "3 words"},
		{"27 words", strings.Repeat("abandon ", 27), "27 words"},
		{"unknown", strings.Repeat("abandon ", 6) + "abanden" + strings.Repeat(" abandon", 4) + " about", "word 7 “abanden” is not in the list"},
		{"unknown and hostile", strings.Repeat("abandon ", 11) + "\x1b[2J", "word 12 “[2j” is not in the list"},
		{"checksum", abandon + "abandon", "checksum"},
		{"words changed places", "about " + abandon, "checksum"},
	} {
		t.Run(c.name, func(t *testing.T) {
			entropy, err := ParsePhrase(c.phrase)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%x, %v: want %q", entropy, err, c.want)
			}
			if strings.Contains(err.Error(), "about") {
				t.Errorf("the error tells words of the phrase: %v", err)
			}
		})
	}
}

func TestPhraseErrors(t *testing.T) {
	for _, size := range []int{0, 15, 17, 33, 64} {
		if phrase, err := Phrase(make([]byte, size)); err == nil {
			t.Errorf("%d bytes gave %q", size, phrase)
		}
		if _, err := NewKey(make([]byte, size)); err == nil {
			t.Errorf("%d bytes gave a key", size)
		}
	}
}

func TestNewEntropy(t *testing.T) {
	a, err := NewEntropy(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewEntropy(rand.Reader)
	if err != nil || bytes.Equal(a, b) {
		t.Errorf("the same secret twice, %v", err)
	}
	if phrase, err := Phrase(a); len(strings.Fields(phrase)) != 24 {
		t.Errorf("a phrase of %d words, %v: want 24", len(strings.Fields(phrase)), err)
	}
	broken := errors.New("no randomness")
	if entropy, err := NewEntropy(iotest.ErrReader(broken)); entropy != nil || !errors.Is(err, broken) {
		t.Errorf("%x, %v: want an error", entropy, err)
	}
	if entropy, err := NewEntropy(bytes.NewReader(make([]byte, 31))); entropy != nil || err == nil {
		t.Errorf("%x, %v from too little randomness: want an error", entropy, err)
	}
}
