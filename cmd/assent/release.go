package main

import (
	"context"
	"fmt"
	"io"

	"github.com/ethereum/go-ethereum/common"
	"github.com/spf13/cobra"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/fhir"
	"github.com/assent-wallet/assent/wallet"
)

// maxRecord is the most bytes that a record may have.
const maxRecord = 256 << 20

type releaseOptions struct {
	verifyOptions
	access, bundle, account, patient string
}

func releaseCommand(a *app) *cobra.Command {
	o := &releaseOptions{verifyOptions: verifyOptions{app: a}}
	c := &cobra.Command{
		Use:   "release",
		Short: "Cut a record down to exactly what an access permits",
		Long: `Decides an access and, where it is permitted, prints of a patient's record (a FHIR
R4 Bundle) exactly the resources that it covers, byte for byte as they stood.

--account says which wallet address the record's patient was tied to, by your own
check of who she is: a record is released only on grants of that account. An
access counts once: the next time it is denied as replayed.`,
		Example: `  assent release --access labs.access.json --bundle record.json \
         --account 0x7E766e774678E89816d5C4C8408DA0c822725d7B > labs.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRelease(cmd.Context(), o) },
	}
	flags := c.Flags()
	flags.StringVar(&o.access, "access", "", "the access: a file, or - for standard input")
	flags.StringVar(&o.bundle, "bundle", "", "the patient's record: the file of a FHIR R4 Bundle")
	flags.StringVar(&o.account, "account", "", "the wallet address that this record's patient is tied to, or the file of her card")
	flags.StringVar(&o.patient, "patient", "", "the id of the Patient in the record, where it has several")
	o.add(c)
	return c
}

func runRelease(ctx context.Context, o *releaseOptions) error {
	if o.access == "" || o.bundle == "" || o.account == "" {
		return usagef("a release needs --access, --bundle, and --account: whose record it is")
	}
	access, err := readDocument(o.app, o.access, consent.ReadAccess)
	if err != nil {
		return err
	}
	patient, err := o.party(o.account)
	if err != nil {
		return err
	}
	file, err := o.open(o.bundle)
	if err != nil {
		return fmt.Errorf("open the record: %w", err)
	}
	defer file.Close()
	bundle, err := io.ReadAll(io.LimitReader(file, maxRecord+1))
	if err != nil {
		return fmt.Errorf("read the record %s: %w", o.bundle, err)
	}
	if len(bundle) > maxRecord {
		return fmt.Errorf("the record %s is longer than %d bytes: split it", o.bundle, maxRecord)
	}
	return o.withChain(ctx, nil, func(c *chain) error {
		return o.withStore(ctx, func(store *wallet.Store) error {
			holder, err := o.asHolder(c, store)
			if err != nil {
				return err
			}
			holder.Patient = func(_ context.Context, grantor common.Address) (string, error) {
				if grantor != patient.account {
					return "", consent.ErrUnknownPatient
				}
				return o.patient, nil
			}
			holder.Remember = store.Remember
			// Before the access is spent on it, so that a broken record costs nothing.
			var released *fhir.Released
			if fhir.Evaluable(&access.Access) == nil {
				if released, err = fhir.Release(bundle, o.patient, &access.Access); err != nil {
					return fmt.Errorf("the record %s: %w", o.bundle, err)
				}
			}
			answer, err := holder.Answer(ctx, access, common.Hash{}, uint64(o.now().Unix()))
			if err != nil {
				return err
			}
			if answer.Outcome != consent.Permit {
				return o.show(access, &answer)
			}
			o.say("permitted on block %d: released %s", answer.State.Block, tally(released.Counts))
			if _, err = o.stdout.Write(append(released.Bundle, '\n')); err != nil {
				return fmt.Errorf("print what is released: %w; the access is used up: ask for a new one", err)
			}
			return nil
		})
	})
}

// remembered reads the chain, and adds what this data holder ever saw revoked or
// retired.
func (c *chain) remembered(ctx context.Context, store *wallet.Store, need consent.Entries) (consent.State, error) {
	read, err := c.Read(ctx, need)
	if err != nil {
		return read, err
	}
	memory, err := store.Memory(ctx, c.domain, need)
	if err != nil {
		return read, err
	}
	state := memory.State(read, read)
	return state, store.SaveMemory(ctx, c.domain, memory)
}
