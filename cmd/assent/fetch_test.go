package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/assent-wallet/assent/consent"
	"github.com/assent-wallet/assent/consent/gateway"
	"github.com/assent-wallet/assent/consent/registry"
)

func TestExitCodeOfSeveralHolders(t *testing.T) {
	denied := &gateway.RefusedError{Status: 400, Code: "invalid_grant", Reason: "Revoked"}
	tooOld := &gateway.RefusedError{Status: 503, Code: "temporarily_unavailable", Reason: "ChainTooOld"}
	down := errors.New("connection refused")
	unreachable := &registry.UnreachableError{}
	for _, c := range []struct {
		of   int
		errs []error
		want int
	}{
		{1, []error{denied}, exitDenied},
		{2, []error{denied, denied}, exitDenied},
		{2, []error{denied}, exitFailed}, // the other one gave what it has
		{2, []error{denied, down}, exitFailed},
		{1, []error{down}, exitFailed},
		{1, []error{tooOld}, exitChain},
		{2, []error{tooOld, denied}, exitChain},
		{2, []error{tooOld}, exitFailed},
		{1, []error{unreachable}, exitChain},
	} {
		failed := &holdersError{of: c.of}
		for _, err := range c.errs {
			failed.sources = append(failed.sources, &source{called: "it", err: err})
		}
		if got := exitCode(fmt.Errorf("fetch: %w", failed)); got != c.want {
			t.Errorf("%d of %d data holders with %v: exit code %d, want %d", len(c.errs), c.of, c.errs, got, c.want)
		}
	}
}

func TestPlanOfScopes(t *testing.T) {
	for _, c := range []struct {
		scopes []string
		want   plan
	}{
		{[]string{"patient/Observation.rs?category=laboratory"}, plan{searches: []string{"Observation?category=laboratory&_count=100"}}},
		{[]string{"patient/Condition.s", "patient/Condition.rs"}, plan{searches: []string{"Condition?_count=100"}}},
		{[]string{"patient/*.rs"}, plan{everything: true}},
		{[]string{"patient/Patient.r", "patient/Observation.r"}, plan{person: true, unlisted: []string{"patient/Observation.r"}}},
		{[]string{"patient/Observation.c"}, plan{unlisted: []string{"patient/Observation.c"}}},
	} {
		var scopes []consent.Scope
		for _, text := range c.scopes {
			scope, err := consent.ParseScope(text, "TREAT")
			if err != nil {
				t.Fatal(err)
			}
			scopes = append(scopes, scope)
		}
		if diff := cmp.Diff(c.want, planOf(scopes), cmp.AllowUnexported(plan{})); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.scopes, diff)
		}
	}
}

// TestProgress: on a terminal one line changes, and elsewhere nothing does.
func TestProgress(t *testing.T) {
	run := func(moving bool) string {
		var out bytes.Buffer
		p := newProgress(&out, 2)
		p.moving = moving
		p.say("asking %s", "it")
		for range pageSize {
			p.count()
		}
		p.done(&source{called: "it", counts: map[string]int{"Observation": pageSize}})
		p.clear()
		return out.String()
	}
	if got, want := run(false), "asking it\nit: 100 Observation\n"; got != want {
		t.Errorf("in a file: %q, want %q", got, want)
	}
	moved := run(true)
	if !strings.HasSuffix(moved, "1 of 2 data holders, 100 resources"+eraseLine) || strings.Count(moved, "\n") != 2 {
		t.Errorf("on a terminal: %q", moved)
	}
}
