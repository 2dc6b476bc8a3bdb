package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// resolver works out what the rows of a batch say. Several goroutines may use
// it.
type resolver struct {
	now      time.Time
	accounts map[string][]common.Address // by the names that they call themselves
}

func newResolver(b *wallet.Batch) *resolver {
	r := &resolver{now: time.Unix(int64(b.Time), 0), accounts: make(map[string][]common.Address)}
	for account, name := range b.Names {
		r.accounts[name] = append(r.accounts[name], account)
	}
	return r
}

// row gives the grant that a row asks for, or all that is wrong with it.
func (v *resolver) row(r *row) wallet.BatchRow {
	if r.json != nil {
		r.members()
		r.json = nil
	}
	out := wallet.BatchRow{Position: r.at}
	if r.problem != nil {
		out.Problems = []wallet.Problem{*r.problem}
		return out
	}
	out.Content = r.content()
	problem := func(column int, c cell, err error) {
		if c.at.Line == 0 {
			c.at = r.at
		}
		out.Problems = append(out.Problems, wallet.Problem{Position: c.at, Field: columnNames[column], Text: err.Error()})
	}
	one := func(column int) (c cell, written bool) {
		if len(r.cells[column]) == 0 {
			return cell{}, false
		}
		return r.cells[column][0], true
	}
	required := func(column int) (cell, bool) {
		c, written := one(column)
		if !written {
			problem(column, c, errors.New("it is missing"))
		}
		return c, written
	}
	draft := &wallet.Draft{}
	if c, written := required(columnReference); written {
		out.Reference, out.Position = c.text, c.at
		if err := checkReference(c.text); err != nil {
			problem(columnReference, c, err)
		}
	}
	if c, written := required(columnGrantee); written {
		var err error
		if draft.Grantee, err = v.account(c.text); err != nil {
			problem(columnGrantee, c, err)
		}
	}
	holder := common.Address{} // any
	if c, written := one(columnHolder); written {
		var err error
		if holder, err = v.account(c.text); err != nil {
			problem(columnHolder, c, err)
		}
	}
	var mask consent.Sensitivities
	for _, c := range r.cells[columnSensitivities] {
		bit, err := consent.ParseSensitivity(c.text)
		if err != nil {
			problem(columnSensitivities, c, err)
		}
		mask |= bit
	}
	purpose, known := required(columnPurpose)
	if known {
		if _, err := consent.ParseScope("patient/*.r", purpose.text); err != nil {
			problem(columnPurpose, purpose, err)
			known = false
		}
	}
	var scopes []consent.Scope
	if _, written := required(columnScopes); written && known {
		for _, c := range r.cells[columnScopes] {
			scope, err := consent.ParseScope(c.text, purpose.text)
			if err != nil {
				problem(columnScopes, c, err)
				continue
			}
			scope.Sensitivities = mask
			scopes = append(scopes, scope)
		}
	}
	v.window(draft, one, problem)
	if c, written := one(columnHandoffs); written {
		n, err := strconv.ParseUint(c.text, 10, 8)
		if err != nil {
			problem(columnHandoffs, c, fmt.Errorf("%s: want a number from 0 to 255", consent.Quote(c.text)))
		}
		draft.Handoffs = uint8(n)
	}
	if len(out.Problems) == 0 {
		draft.Provisions = wallet.Provide(scopes, []common.Address{holder})
		out.Draft = draft
	}
	return out
}

// window works out from when until when a row's grant counts.
func (v *resolver) window(draft *wallet.Draft, one func(int) (cell, bool), problem func(int, cell, error)) {
	start := v.now
	if c, written := one(columnFrom); written {
		from, err := parseMoment(c.text)
		if err != nil {
			problem(columnFrom, c, err)
			return
		}
		start = from
	}
	until, ends := one(columnUntil)
	length, lasts := one(columnFor)
	switch {
	case ends && lasts:
		problem(columnFor, length, errors.New("until and for say the same thing: give one of them"))
	case ends:
		end, err := parseMoment(until.text)
		if err == nil && (!end.After(start) || !end.After(v.now)) {
			err = fmt.Errorf("it would end at %s, before it counts", end.UTC().Format(time.RFC3339))
		}
		if err != nil {
			problem(columnUntil, until, err)
			return
		}
		draft.NotBefore, draft.Expires = uint64(start.Unix()), uint64(end.Unix())
	case lasts:
		lasting, err := parseLength(length.text)
		if err == nil && !start.Add(lasting).After(v.now) {
			err = errors.New("it would have ended already")
		}
		if err != nil {
			problem(columnFor, length, err)
			return
		}
		draft.NotBefore, draft.Expires = uint64(start.Unix()), uint64(start.Add(lasting).Unix())
	default:
		problem(columnFor, until, errors.New("nothing says when it ends: give for or until"))
	}
}

// account reads an address, or the name on a card that the wallet has. A name
// that several keys call themselves names none.
func (v *resolver) account(s string) (common.Address, error) {
	if strings.HasPrefix(s, "0x") {
		return consent.ParseAddress(s)
	}
	switch accounts := v.accounts[s]; len(accounts) {
	case 0:
		return common.Address{}, fmt.Errorf("%s is no address, and no card that this wallet has is of that name", consent.Quote(s))
	case 1:
		return accounts[0], nil
	default:
		return common.Address{}, fmt.Errorf("%d keys call themselves %s: give the address", len(accounts), consent.Quote(s))
	}
}

// checkReference tells why a text may not name a row.
func checkReference(s string) error {
	switch {
	case len(s) > wallet.MaxReference:
		return fmt.Errorf("it has %d bytes: want at most %d", len(s), wallet.MaxReference)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("it has characters that nobody sees")
	case strings.TrimSpace(s) != s:
		return errors.New("it begins or ends with a space")
	}
	return nil
}

// content is the hash of all that is written in a row, whatever the format of
// the file and the order of its columns.
func (r *row) content() [sha256.Size]byte {
	b := make([]byte, 0, 256)
	for column, cells := range r.cells {
		if columnLists[column] {
			b = binary.AppendUvarint(b, uint64(len(cells)))
		} else if len(cells) == 0 {
			cells = slices.Clone([]cell{{}})
		}
		for _, c := range cells {
			b = append(binary.AppendUvarint(b, uint64(len(c.text))), c.text...)
		}
	}
	return sha256.Sum256(b)
}
