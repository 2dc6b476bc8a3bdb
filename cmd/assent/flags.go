package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/pflag"
)

// span holds the flags that say when a grant counts.
type span struct{ from, until, length string }

func (s *span) add(flags *pflag.FlagSet) {
	flags.StringVar(&s.from, "from", "", "first day or moment, such as 2027-01-31 or 2027-01-31T08:00:00Z (default now)")
	flags.StringVar(&s.until, "until", "", "day or moment at which it ends, in the same form")
	flags.StringVar(&s.length, "for", "", "how long it lasts instead, such as 12h, 30d or 8w")
}

func (s *span) given() bool { return s.from != "" || s.until != "" || s.length != "" }

// resolve gives notBefore and expires in unix seconds.
func (s *span) resolve(now time.Time) (notBefore, expires uint64, err error) {
	start := now
	if s.from != "" {
		if start, err = parseMoment(s.from); err != nil {
			return 0, 0, usagef("--from: %w", err)
		}
	}
	var end time.Time
	switch {
	case s.until != "" && s.length != "":
		return 0, 0, usagef("--until and --for say the same thing: give one of them")
	case s.until != "":
		if end, err = parseMoment(s.until); err != nil {
			return 0, 0, usagef("--until: %w", err)
		}
	case s.length != "":
		length, err := parseLength(s.length)
		if err != nil {
			return 0, 0, usagef("--for: %w", err)
		}
		end = start.Add(length)
	default:
		return 0, 0, usagef("nothing says when it ends: give --for or --until")
	}
	if !end.After(start) || !end.After(now) {
		return 0, 0, usagef("it would end at %s, before it counts", end.UTC().Format(time.RFC3339))
	}
	return uint64(start.Unix()), uint64(end.Unix()), nil
}

// parseMoment reads a day, which begins at midnight UTC, or a moment.
func parseMoment(s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil && t.Unix() > 0 {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s: want a day such as 2027-01-31, or a moment such as 2027-01-31T08:00:00Z", consent.Quote(s))
}

// parseLength reads a number of hours, days or weeks, or a duration of Go's.
func parseLength(s string) (time.Duration, error) {
	units := map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	for suffix, unit := range units {
		if digits, found := strings.CutSuffix(s, suffix); found {
			if n, err := strconv.Atoi(digits); err == nil && n > 0 && n <= 36500 {
				return time.Duration(n) * unit, nil
			}
		}
	}
	if length, err := time.ParseDuration(s); err == nil && length >= time.Second {
		return length, nil
	}
	return 0, fmt.Errorf("%s: want a length such as 12h, 30d or 8w", consent.Quote(s))
}

// scopes holds the flags that make scopes.
type scopes struct {
	texts               []string
	purpose             string
	dataFrom, dataUntil string
	sensitive           []string
}

func (s *scopes) add(flags *pflag.FlagSet, purpose string) {
	flags.StringArrayVar(&s.texts, "scope", nil, "a SMART scope, such as 'patient/Observation.rs?category=laboratory' (repeatable)")
	flags.StringVar(&s.purpose, "purpose", purpose, "HL7 purpose of use, such as TREAT or HRESCH")
	s.addNarrowing(flags)
}

func (s *scopes) given() bool {
	return len(s.texts) > 0 || s.purpose != "" || s.dataFrom != "" || s.dataUntil != "" || len(s.sensitive) > 0
}

func (s *scopes) addNarrowing(flags *pflag.FlagSet) {
	flags.StringVar(&s.dataFrom, "data-from", "", "only data dated from this day or moment on")
	flags.StringVar(&s.dataUntil, "data-until", "", "only data dated before this day or moment")
	flags.StringArrayVar(&s.sensitive, "sensitive", nil, "a sensitive category to include, such as mental-health (repeatable; default none)")
}

// window gives the window of clinical dates, unix seconds; 0 is open.
func (s *scopes) window() (from, until uint64, err error) {
	for _, bound := range []struct {
		flag, text string
		into       *uint64
	}{{"--data-from", s.dataFrom, &from}, {"--data-until", s.dataUntil, &until}} {
		if bound.text == "" {
			continue
		}
		t, err := parseMoment(bound.text)
		if err != nil {
			return 0, 0, usagef("%s: %w", bound.flag, err)
		}
		*bound.into = uint64(t.Unix())
	}
	return from, until, nil
}

// mask gives the sensitive categories that were named.
func (s *scopes) mask() (consent.Sensitivities, error) {
	var mask consent.Sensitivities
	for _, name := range s.sensitive {
		bit, err := consent.ParseSensitivity(name)
		if err != nil {
			return 0, usagef("--sensitive: %w", err)
		}
		mask |= bit
	}
	return mask, nil
}

// resolve gives the scopes that the flags make.
func (s *scopes) resolve() ([]consent.Scope, error) {
	from, until, err := s.window()
	if err != nil {
		return nil, err
	}
	mask, err := s.mask()
	if err != nil {
		return nil, err
	}
	var made []consent.Scope
	for _, text := range s.texts {
		scope, err := consent.ParseScope(text, s.purpose)
		if err != nil {
			return nil, usagef("--scope: %w", err)
		}
		scope.DataFrom, scope.DataUntil, scope.Sensitivities = from, until, mask
		if err := consent.CheckScope(scope); err != nil {
			return nil, usagef("--scope: %w", err)
		}
		made = append(made, scope)
	}
	return made, nil
}

// wish gives what the flags want of a grant.
func (s *scopes) wish() (*wallet.Wish, error) {
	w := &wallet.Wish{Scopes: s.texts, Purpose: s.purpose}
	var err error
	if w.DataFrom, w.DataUntil, err = s.window(); err != nil {
		return nil, err
	}
	w.Sensitivities, err = s.mask()
	return w, err
}

// open opens a document: a file, or standard input for "-".
func (a *app) open(path string) (io.ReadCloser, error) {
	if path == "-" {
		if a.stdinUsed {
			return nil, usagef("standard input is one document: only one “-” can stand for it")
		}
		a.stdinUsed = true
		return io.NopCloser(a.stdin), nil
	}
	return os.Open(path)
}

// readDocument reads one document with the strict reader of its kind.
func readDocument[T any](a *app, path string, read func(io.Reader) (*T, error)) (*T, error) {
	file, err := a.open(path)
	if err != nil {
		return nil, fmt.Errorf("open the document: %w", err)
	}
	defer file.Close()
	document, err := read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return document, nil
}

// party is somebody who was named on the command line.
type party struct {
	account common.Address
	card    *consent.CardDocument // nil where an address was given
}

// party reads who is meant: an address, or the file of a card.
func (a *app) party(s string) (party, error) {
	if strings.HasPrefix(s, "0x") {
		account, err := consent.ParseAddress(s)
		if err != nil {
			return party{}, usageError{err}
		}
		return party{account: account}, nil
	}
	card, err := readDocument(a, s, consent.ReadCard)
	if err != nil {
		return party{}, fmt.Errorf("want an address or the file of a card: %w", err)
	}
	return party{card.Card.Account, card}, nil
}

// parties reads several.
func (a *app) parties(given []string) ([]party, error) {
	var read []party
	for _, s := range given {
		p, err := a.party(s)
		if err != nil {
			return nil, err
		}
		read = append(read, p)
	}
	return read, nil
}

// meet takes in the cards of those who were named.
func meet(ctx context.Context, w *wallet.Wallet, parties ...party) error {
	for _, p := range parties {
		if p.card == nil {
			continue
		}
		if err := w.Meet(ctx, p.card); err != nil {
			return err
		}
	}
	return nil
}

// accounts gives the accounts of data holders; of none, the zero address, which
// stands for any.
func accounts(holders []party) []common.Address {
	if len(holders) == 0 {
		return []common.Address{{}}
	}
	var accounts []common.Address
	for _, h := range holders {
		accounts = append(accounts, h.account)
	}
	return accounts
}
