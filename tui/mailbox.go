package tui

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"github.com/assent-wallet/assent/consent"
)

// mail takes in letters as they come, once there is a mailbox.
func (m *Model) mail() tea.Cmd {
	if m.session.Collect == nil || !m.state.mailbox || m.busy("mail") || m.now().Sub(m.mailed) < mailRest {
		return nil
	}
	m.mailed = m.now()
	collect := m.session.Collect
	return start(m, "mail", mailLimit, func(ctx context.Context) (int, error) { return collect(ctx, true) }, func(came int, err error) tea.Cmd {
		if err != nil {
			m.trouble = mailTrouble + plain(err)
		} else if strings.HasPrefix(m.trouble, mailTrouble) {
			m.trouble = ""
		}
		if came == 0 {
			return nil
		}
		m.note = fmt.Sprintf("%s came by letter", count(came, "document"))
		return m.reload()
	})
}

const (
	mailTrouble = "the mailbox: "
	mailRest    = 10 * time.Second
)

// noMailbox tells that requests could come by letter, and that nobody was asked
// for that yet.
func (m *Model) noMailbox() bool {
	return m.session != nil && m.session.Collect != nil && m.state != nil && !m.state.mailbox
}

// mailboxing opens a mailbox, after it was asked about.
func (m *Model) mailboxing() action {
	return on([]string{"m"}, "m", "open a mailbox", func() tea.Cmd {
		m.open(&confirmPage{heading: "Open a mailbox?", text: m.aboutMailbox(), yes: "open it", do: m.openMailbox})
		return nil
	}).unless(func() string {
		if m.busy("mail") {
			return "the mailbox is being opened"
		}
		return ""
	})
}

// aboutMailbox says what opening a mailbox does, and who learns what by it.
func (m *Model) aboutMailbox() string {
	own := m.status.Profile.Address
	name := "none"
	if known := m.state.Names[own]; known != "" {
		name = consent.Quote(known)
	}
	return fmt.Sprintf(`Requests then come by themselves, as letters. For that your card is published at the relays of the network %s: your address, %s, and the name on it, now %s. What is published stays there.

Whoever knows your address can then send you requests. They wait for your answer like any other.

The relays see your address, the name, and when letters come and from where, never what is in them. To fetch them, this app proves to the relays with a signature that the address is yours, as long as it is open.`, m.status.Network, own, name)
}

func (m *Model) openMailbox() tea.Cmd {
	m.note = "opening the mailbox"
	return start(m, "mail", sendLimit, m.session.openMailbox, func(open bool, err error) tea.Cmd {
		m.note = openedWords(open, err)
		m.state.mailbox = open
		return m.reload()
	})
}

// openMailbox opens a mailbox at each relay of the network, takes in what is
// there already, and tells whether the wallet has a mailbox now. The error tells
// of the relays that did not answer.
func (s *Session) openMailbox(ctx context.Context) (open bool, err error) {
	_, err = s.Collect(ctx, false)
	open, failed := s.Wallet.Published(ctx)
	return open, errors.Join(err, failed)
}

// openedWords says how opening a mailbox ended.
func openedWords(open bool, err error) string {
	switch {
	case err == nil:
		return "the mailbox is open: requests come by themselves"
	case open:
		return "the mailbox is open; " + plain(err)
	}
	return "no mailbox is known to be open: " + plain(err)
}
