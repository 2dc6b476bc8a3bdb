package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// A damaged row of the address book keeps nothing back of the other data holders,
// and is told of.
func TestAuditWithDamagedAddressBook(t *testing.T) {
	var printed bytes.Buffer
	a := &app{stdout: &printed, stderr: io.Discard, now: time.Now, json: true}
	c := deployed(t, a)
	folder := t.TempDir()
	patient := walletsOn(t, c, folder)()
	whole := consent.Gateway{Account: common.Address{7}, URL: "http://127.0.0.1:1"}
	for _, holder := range []consent.Gateway{whole, {Account: common.Address{8}, URL: "http://127.0.0.1:2"}} {
		if err := patient.AddHolder(t.Context(), holder); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", filepath.Join(folder, wallet.StoreFile))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE documents SET sealed = zeroblob(100) WHERE rowid = (SELECT max(rowid) FROM documents)"); err != nil {
		t.Fatal(err)
	}
	o := &auditOptions{app: a, yes: true}
	err = o.audit(t.Context(), patient, nil)
	if !errors.Is(err, wallet.ErrDamaged) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("it says %v", err)
	}
	var told []audited
	if err := json.Unmarshal(printed.Bytes(), &told); err != nil || len(told) != 1 || told[0].URL != whole.URL {
		t.Errorf("it tells of %+v, %v", told, err)
	}
}
