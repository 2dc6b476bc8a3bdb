package tui

import (
	"context"
	"errors"
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// revoking are the three ways to take back: this one, all of this person, all.
func revoking(m *Model, chosen func() *row) []action {
	ready := func() string {
		if why := m.loaded(); why != "" {
			return why
		}
		if m.busy("revoke") {
			return "something is being taken back: wait until that is done"
		}
		return ""
	}
	given := func() string {
		if why := ready(); why != "" {
			return why
		}
		switch r := chosen(); {
		case r == nil:
			return "no grant is chosen"
		case !r.Given:
			return "only who gave it can take it back: it was given to you"
		}
		return ""
	}
	return []action{
		on([]string{"r"}, "r", "take back", func() tea.Cmd {
			r := chosen()
			document, w := r.Document, m.session.Wallet
			return m.takeBack("the grant to "+m.party(r.With()), func(ctx context.Context) (*wallet.Revocation, error) {
				return w.RevokeGrant(ctx, document)
			})
		}).unless(func() string {
			if why := given(); why != "" {
				return why
			}
			switch p := chosen().phase; p {
			case wallet.PhaseRevoked, wallet.PhaseExpired, wallet.PhaseRetired, wallet.PhaseInvalid:
				return "it is " + string(p) + " already"
			}
			return ""
		}),
		on([]string{"p"}, "p", "take back all from this person", func() tea.Cmd {
			grantee, w := chosen().With(), m.session.Wallet
			return m.takeBack("everything that you gave to "+m.party(grantee), func(ctx context.Context) (*wallet.Revocation, error) {
				return w.RevokeGrantee(ctx, grantee)
			})
		}).unless(given),
		on([]string{"E"}, "E", "take back everything", func() tea.Cmd {
			return m.takeBack("everything that you ever gave, to anybody", m.session.Wallet.RevokeEverything)
		}).unless(ready),
	}
}

// party names an account in a sentence: its name, and always its address.
func (m *Model) party(account interface{ Hex() string }) string {
	for known, name := range m.state.Names {
		if known.Hex() == account.Hex() {
			return fmt.Sprintf("the key that calls itself %s (address %s)", consent.Quote(name), account.Hex())
		}
	}
	return "the key " + account.Hex()
}

// takeBack prepares a revocation and asks about it.
func (m *Model) takeBack(what string, prepare func(context.Context) (*wallet.Revocation, error)) tea.Cmd {
	w := m.session.Wallet
	m.note = "finding out what that ends"
	return start(m, "revoke", loadLimit, prepare, func(r *wallet.Revocation, err error) tea.Cmd {
		m.note = ""
		if err != nil {
			m.note = "nothing was taken back: " + plain(err)
			return nil
		}
		m.open(&confirmPage{
			heading: "Take back?",
			text: fmt.Sprintf("This ends %s: %s.\n\n"+
				"It takes effect in the next block and cannot be undone. What was read before stays read.", what, counting(len(r.Grants))),
			list: m.ends(r),
			yes:  "take back",
			do: func() tea.Cmd {
				page := &endingPage{what: what, n: len(r.Grants)}
				m.open(page)
				return start(m, "revoke", postLimit, func(ctx context.Context) (struct{}, error) {
					return struct{}{}, w.Revoke(ctx, r)
				}, func(_ struct{}, err error) tea.Cmd {
					page.done, page.err = true, err
					if err != nil {
						m.tell(page, "not revoked yet, take it back again: %s", plain(err))
					} else {
						m.tell(page, "revoked: %s", what)
					}
					return m.reload()
				})
			},
		})
		return nil
	})
}

// counting says how many grants a revocation ends.
func counting(n int) string {
	if n == 1 {
		return "1 grant that counts now, as far as this wallet knows"
	}
	return count(n, "grant") + " that count now, as far as this wallet knows"
}

// ends lists the grants that a revocation ends.
func (m *Model) ends(r *wallet.Revocation) []string {
	var lines []string
	for i := range r.Grants {
		g := &r.Grants[i]
		lines = append(lines, fmt.Sprintf("  - %s: %s, until %s", m.who(g.With(), 30), whatOf(g.Document.Provisions), date(g.Document.Grant.Expires)))
	}
	return lines
}

// endingPage says how far a revocation has come.
type endingPage struct {
	scroll
	what string
	n    int
	done bool
	err  error
}

func (p *endingPage) actions(m *Model) []action {
	return append([]action{m.back()}, p.scroll.actions(m)...)
}

func (p *endingPage) view(m *Model, w, h int) []string {
	switch {
	case !p.done:
		return p.lines(append(paint(m.styles.waiting, "sent: waiting for the block that ends it", w),
			wrap("\nIt ends "+p.what+".\n\nYou may leave this page: it goes on.", w)...), h)
	case p.err != nil:
		text := "It is not seen on chain, so it may not have ended: " + plain(p.err) + "."
		if errors.Is(p.err, ErrSilent) {
			text += " It may still come through."
		}
		return p.lines(append(paint(m.styles.broken, "not revoked yet", w), wrap("\n"+text+"\n\nTake it back again: doing so twice does no harm.", w)...), h)
	}
	return p.lines(append(paint(m.styles.good, "revoked", w),
		wrap(fmt.Sprintf("\nEnded %s: %s.\n\nSeen on chain. What was read before stays read.", p.what, count(p.n, "grant")), w)...), h)
}
