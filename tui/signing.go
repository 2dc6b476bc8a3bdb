package tui

import (
	"context"
	"errors"
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// signingPage says how far a grant has come: signing, sent, anchored. It says
// anchored only once the wallet has seen it on chain.
type signingPage struct {
	scroll
	document *consent.GrantDocument // nil: not signed yet
	anchored bool
	sent     string // the relay at whose mailbox it was left
	err      error
}

// sign signs a draft that its person confirmed, and posts it.
func (m *Model) sign(draft *wallet.Draft) tea.Cmd {
	p := new(signingPage)
	m.open(p)
	w := m.session.Wallet
	return start(m, "sign", signLimit, func(ctx context.Context) (*consent.GrantDocument, error) {
		return w.Sign(ctx, draft)
	}, func(d *consent.GrantDocument, err error) tea.Cmd {
		if err != nil {
			p.err = err
			m.tell(p, "nothing is known to be signed: %s", plain(err))
			return nil
		}
		p.document = d
		return m.post(p)
	})
}

func (m *Model) post(p *signingPage) tea.Cmd {
	w, d := m.session.Wallet, p.document
	p.err = nil
	return start(m, "post", postLimit, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, w.Post(ctx, d)
	}, func(_ struct{}, err error) tea.Cmd {
		p.err, p.anchored = err, err == nil
		if err != nil {
			m.tell(p, "signed and kept, not anchored yet: %s", plain(err))
		} else {
			m.tell(p, "anchored: the grant to %s counts from now on", m.party(d.Grant.Grantee))
		}
		return m.reload()
	})
}

// deliver sends a grant to the mailbox of whoever it is given to.
func (m *Model) deliver(p *signingPage) tea.Cmd {
	do, d := m.session.Deliver, p.document
	m.note = "sending it"
	return start(m, "deliver", sendLimit, func(ctx context.Context) (string, error) { return do(ctx, d) }, func(url string, err error) tea.Cmd {
		if err != nil {
			m.note = "not sent: " + plain(err)
			return nil
		}
		p.sent = url
		m.note = "sent, sealed, to the mailbox of " + m.party(d.Grant.Grantee)
		return nil
	})
}

// loses names what leaving the page gives up.
func (p *signingPage) loses() string {
	if p.document != nil && p.err != nil {
		return "the way to try again at once"
	}
	return ""
}

func (p *signingPage) actions(m *Model) []action {
	actions := []action{
		on([]string{"w"}, "w", "write to a file", func() tea.Cmd { return m.save(p.document) }).unless(func() string {
			if !p.anchored {
				return "it is not anchored yet, so it does not count"
			}
			return ""
		}),
		m.back(),
	}
	if m.session != nil && m.session.Deliver != nil {
		actions = append(actions, on([]string{"s"}, "s", "send by letter", func() tea.Cmd { return m.deliver(p) }).unless(func() string {
			switch {
			case !p.anchored:
				return "it is not anchored yet, so it does not count"
			case p.sent != "":
				return "it is sent"
			case m.busy("deliver"):
				return "it is on its way"
			}
			return ""
		}))
	}
	if p.document != nil && p.err != nil {
		actions = append(actions, on([]string{"t"}, "t", "try again", func() tea.Cmd { return m.post(p) }).unless(func() string {
			if m.busy("post") {
				return "it is on its way"
			}
			return ""
		}))
	}
	return append(actions, p.scroll.actions(m)...)
}

func (p *signingPage) view(m *Model, w, h int) []string {
	step := func(done, now bool, word, words string) []string {
		switch {
		case done:
			return paint(m.styles.good, "✓ "+word, w)
		case now:
			return paint(m.styles.waiting, "… "+word+": "+words, w)
		}
		return paint(m.styles.dim, "  "+word, w)
	}
	lines := step(p.document != nil, p.err == nil, "signing", "with your key, in this wallet")
	switch {
	case p.anchored:
		lines = append(lines, step(true, false, "sent", "")...)
	default:
		lines = append(lines, step(false, p.document != nil && p.err == nil, "sent", "waiting for the chain")...)
	}
	word := "anchored"
	if p.anchored && m.session != nil {
		if block, known := m.session.Posted(p.document.Root()); known {
			word = fmt.Sprintf("anchored in block %s (%s)", thousands(block), count(int(m.head.Block-min(block, m.head.Block))+1, "confirmation"))
		}
	}
	lines = append(lines, step(p.anchored, false, word, "")...)
	lines = append(lines, "")
	switch {
	case p.err != nil && p.document == nil:
		text := "Nothing was signed: " + plain(p.err) + "."
		if errors.Is(p.err, ErrSilent) {
			text = "It is not known whether it was signed: " + plain(p.err) + ". If it was, it stands on Access, and is sent when the wallet is opened next."
		}
		lines = append(lines, paint(m.styles.broken, text, w)...)
	case p.err != nil:
		lines = append(lines, paint(m.styles.broken, "It is not anchored, so it does not count yet: "+plain(p.err)+".", w)...)
		lines = append(lines, wrap("It is kept. t tries again; so does opening the wallet the next time.", w)...)
	case p.anchored:
		hand := "w writes it to a file for whoever may use it"
		switch {
		case p.sent != "":
			hand = "Whoever may use it finds it in the mailbox at " + consent.Quote(p.sent)
		case m.session != nil && m.session.Deliver != nil:
			hand = "s sends it to whoever may use it, w writes it to a file"
		}
		lines = append(lines, wrap("It counts from now on. "+hand+"; Access (2) takes it back.\n\n"+
			consent.Describe(&p.document.Grant, p.document.Provisions, m.state.Names), w)...)
	case p.document != nil:
		lines = append(lines, wrap("It is signed and kept. It does not count before it is anchored.\nYou may leave this page: it goes on.", w)...)
	}
	return p.lines(lines, h)
}
