package tui

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/wallet"
)

// tells makes the data holder's log tell these uses, with a root over the first
// of them on chain, and has it followed when the app asks.
func (r *rig) tells(proven int, uses ...wallet.Use) {
	r.t.Helper()
	own := r.door.status.Profile.Address
	d := &consent.AuditDocument{Domain: domain, Holder: holder, Account: own}
	var head consent.AuditHead
	for i := range uses {
		uses[i].Holder = holder
		event, err := json.Marshal(&uses[i])
		if err != nil {
			r.t.Fatal(err)
		}
		e := consent.AuditEntry{Number: uint64(i + 1), Previous: head.Hash, Event: event}
		head = consent.AuditHead{Number: e.Number, Hash: e.Hash()}
		d.Entries = append(d.Entries, e)
		if i+1 == proven {
			root := consent.NewTree([]common.Hash{head.Leaf(own)}).Root()
			d.Checkpoint = consent.AuditCheckpoint{Head: head, Root: root}
			r.door.ledger.set(func(l *ledger) { l.anchored[root] = uint64(r.now().Unix()) })
		}
	}
	r.door.logs = func(ctx context.Context) (int, error) {
		_, err := r.door.wallet.Audit(ctx, holder, wallet.Log{
			Page: func(context.Context, uint64) (*consent.AuditDocument, error) { return d, nil },
			Read: func(event []byte) (use wallet.Use, grantor common.Address, err error) {
				return use, own, json.Unmarshal(event, &use)
			},
		})
		return 1, err
	}
}

// used is a use of a grant: laboratory results were read, some minutes ago.
func (r *rig) used(g *consent.GrantDocument, ago, n int) wallet.Use {
	return wallet.Use{
		Time: uint64(r.now().Add(-time.Duration(ago) * time.Minute).Unix()), Grantee: g.Grant.Grantee, Grant: g.ID(), Purpose: "TREAT",
		Interaction: "search-type", Target: "Observation?category=laboratory&_count=100", Outcome: wallet.UsePermitted, Released: map[string]int{"Observation": n},
	}
}

// TestActivityTellsUses: who used what is on Activity once a key had the data
// holders asked, and says of each act whether it is proven on chain.
func TestActivityTellsUses(t *testing.T) {
	r := newRig(t, Look{})
	grant := r.gives(r.other("Cardiology clinic"), 0, 30, labs)
	denied := r.used(grant, 1, 0)
	denied.Outcome, denied.Target, denied.Released = "Revoked\x1b[2J", "Condition", nil
	own := r.used(grant, 0, 0) // she looked herself
	own.Grantee, own.Target, own.Released = r.door.status.Profile.Address, "AuditEvent", nil
	r.tells(1, r.used(grant, 40, 26), denied, own)
	r.size(98, 40).start().keys("3").unseen("used,")
	r.keys("w").see("read 1 log",
		"used, proven: “Cardiology clinic” read 26 laboratory results",
		"refused, not proven yet: “Cardiology clinic” asked for conditions and was").unseen("log of who")
	r.keys("/", "l", "a", "b", "o", "r", "enter").see("1 of 4", "read 26").unseen("asked for conditions")
	r.keys("enter").see("“Cardiology clinic” read 26 laboratory results.", "So says the log of the data holder", "for treatment", "Proven: the chain has a root", "The grant is active.")

	r.keys("esc", "2", "enter").see("“Cardiology clinic” asked for conditions and was denied: “Revoked[2J”,", "08:50 UTC: “Cardiology clinic” read 26 laboratory results, proven.")

	out := r.answers("9", "10")
	said(t, out, "Read 1 log.", "refused, not proven yet: “Cardiology clinic”", "used, proven: “Cardiology clinic” read 26 laboratory results at the data holder")
}

// TestActivityWithoutLogs: what does not answer is said, and holds up nothing.
func TestActivityWithoutLogs(t *testing.T) {
	r := newRig(t, Look{}).start()
	r.door.logs = func(context.Context) (int, error) { return 1, errors.New("“Hospital” at h.example: it is down") }
	r.keys("3", "w").see("read 1 log; “Hospital” at h.example: it is down")

	waiting := make(chan struct{})
	r.door.logs = func(ctx context.Context) (int, error) {
		<-waiting
		return 0, ctx.Err()
	}
	r.step(keyMsg("w"))
	r.settleBut("logs")
	r.see("asking the data holders who looked")
	r.step(keyMsg("w"))
	r.see("the data holders are still being asked")
	r.step(keyMsg("4"))
	r.see("[People")
	close(waiting)
	r.settle()
}
