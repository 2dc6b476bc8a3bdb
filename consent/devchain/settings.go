package devchain

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

const (
	settingsFile = "chain.json"
	layout       = 1

	minChainID = 1 << 31
	maxChainID = 1<<53 - 1
)

// settings are the file from which the whole first block is derived. They are written before the block, without its
// hash, and again with it once the block is on disk: settings without the hash belong to a chain that nobody has used.
type settings struct {
	Layout  int           `json:"layout"`
	ChainID uint64        `json:"chainId"`
	Secret  hexutil.Bytes `json:"key"`     // 32 bytes, of the funded account
	Time    uint64        `json:"time"`    // unix seconds, of the first block
	Genesis common.Hash   `json:"genesis"` // zero while the chain is being made

	key *ecdsa.PrivateKey
}

func drawSettings() (settings, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(maxChainID-minChainID+1))
	if err != nil {
		return settings{}, err
	}
	key, err := crypto.GenerateKey()
	if err != nil {
		return settings{}, err
	}
	return settings{
		Layout:  layout,
		ChainID: minChainID + n.Uint64(),
		Secret:  crypto.FromECDSA(key),
		Time:    uint64(time.Now().Unix()) - 1, // a second ago, so that the first transaction need not wait for the clock
		key:     key,
	}, nil
}

// readSettings gives fs.ErrNotExist when there are none, ErrDamaged when they are not whole.
func readSettings(dir string) (settings, error) {
	path := filepath.Join(dir, settingsFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		return settings{}, fmt.Errorf("read the embedded chain's settings: %w", err)
	}
	var s settings
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return settings{}, damagedSettings(path, "it is not the JSON object that was written there")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return settings{}, damagedSettings(path, "something follows its end")
	}
	if s.Layout != layout {
		return settings{}, damagedSettings(path, fmt.Sprintf("layout %d is not known to this version", s.Layout))
	}
	if s.ChainID < minChainID || s.ChainID > maxChainID {
		return settings{}, damagedSettings(path, fmt.Sprintf("chain id %d is out of range", s.ChainID))
	}
	if s.key, err = crypto.ToECDSA(s.Secret); err != nil {
		return settings{}, damagedSettings(path, "its key is not one") // the cause is not told: it may quote the key
	}
	return s, nil
}

func damagedSettings(path, why string) error {
	return fmt.Errorf("%w: %s: %s: restore this file from a backup, or move the folder %s away to begin a new chain",
		ErrDamaged, path, why, filepath.Dir(path))
}

// write replaces the file as a whole. Only the owner of the folder calls it.
func (s settings) write(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, settingsFile)
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(raw, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// syncFolder puts the names in dir on disk; on Windows renaming does that itself, and a folder cannot be synced.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
