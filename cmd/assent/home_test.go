package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// home is a folder with all that somebody's commands keep, for the tests that
// are not stories. Nothing of whoever runs the tests is in its environment.
type home struct {
	program, folder string
	env             []string
}

// newHome makes a home whose keyring is the one of stories.
func newHome(t testing.TB) *home {
	t.Helper()
	program, err := exec.LookPath("assent") // as testscript.Main put it there
	if err != nil {
		t.Fatal(err)
	}
	h := &home{program: program, folder: t.TempDir()}
	h.env = []string{"TERM=xterm", "LC_ALL=C.UTF-8", keyringFile + "=" + h.path("keyring.json")}
	for variable, folder := range map[string]string{
		"HOME": "", "XDG_CONFIG_HOME": "config", "XDG_DATA_HOME": "data", "XDG_RUNTIME_DIR": "run",
	} {
		if err := os.MkdirAll(h.path(folder), 0o700); err != nil {
			t.Fatal(err)
		}
		h.env = append(h.env, variable+"="+h.path(folder))
	}
	for _, variable := range []string{"PATH", "TMPDIR", "GOCOVERDIR", "SystemRoot"} {
		if value, set := os.LookupEnv(variable); set {
			h.env = append(h.env, variable+"="+value)
		}
	}
	return h
}

func (h *home) path(name string) string { return filepath.Join(h.folder, name) }

// command gives a command of the program, with no terminal.
func (h *home) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, h.program, args...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = h.folder, h.env, ownSession
	return cmd
}

// try runs a command to its end.
func (h *home) try(ctx context.Context, args ...string) (stdout, stderr string, code int, err error) {
	var out, said bytes.Buffer
	cmd := h.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.Exited() {
		code, err = ended.ExitCode(), nil
	}
	return out.String(), said.String(), code, err
}

// do runs a command that has to succeed, and gives what it printed.
func (h *home) do(ctx context.Context, args ...string) (string, error) {
	stdout, stderr, code, err := h.try(ctx, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("exit code %d", code)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, stderr)
	}
	return stdout, nil
}

// keep runs a command that has to succeed, and keeps what it printed in a file.
func (h *home) keep(ctx context.Context, name string, args ...string) error {
	text, err := h.do(ctx, args...)
	if err != nil {
		return err
	}
	return os.WriteFile(h.path(name), []byte(text), 0o600)
}

// read runs a command that has to succeed, and decodes what it printed.
func (h *home) read(ctx context.Context, into any, args ...string) error {
	text, err := h.do(ctx, args...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}

// need skips the test where a program is missing, and fails it where its
// component is required.
func need(t *testing.T, component string, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			if required(component) {
				t.Fatalf("%s is required: %v", component, err)
			}
			t.Skipf("needs %s: %v", component, err)
		}
	}
}
