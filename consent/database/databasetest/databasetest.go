// Package databasetest runs the tests of a service on each database that it may
// have: an SQLite file, and a PostgreSQL server of its own where one is
// installed.
//
// It is for tests alone, and never touches a server that was there before.
package databasetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Each runs the test with the location of an empty database, as a subtest for
// each kind. Without PostgreSQL that part is skipped, or fails where the
// environment's ASSENT_TEST_REQUIRE lists "postgres".
func Each(t *testing.T, test func(t *testing.T, location string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "service.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, Postgres(t)) })
}

// Postgres gives the URL of an empty database of a server that serves the tests
// of this process and ends with it.
func Postgres(t testing.TB) string {
	t.Helper()
	server, err := start()
	if err != nil {
		if slices.Contains(strings.Split(os.Getenv("ASSENT_TEST_REQUIRE"), ","), "postgres") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	connection, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	if _, err := connection.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(server, "/postgres?", "/"+name+"?", 1)
}

// start starts the server, once for the process.
var start = sync.OnceValues(func() (string, error) {
	programs, err := installed()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "assent-postgres-")
	if err != nil {
		return "", err
	}
	var as *syscall.SysProcAttr
	if os.Geteuid() == 0 { // the server refuses to run as root
		if as, err = asPostgres(folder); err != nil {
			return "", err
		}
	}
	data := filepath.Join(folder, "data")
	made := exec.Command(filepath.Join(programs, "initdb"), "--pgdata", data, "--username", "assent", "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync")
	made.SysProcAttr, made.Dir = as, folder
	if out, err := made.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w: %s", err, out)
	}
	// It ends, and cleans up, when this process does, however that ends.
	server := exec.Command("sh", "-c", `"$1" -D "$2/data" -k "$2" -c listen_addresses= >"$2/log" 2>&1 & cat >/dev/null; kill -INT $!; wait $!; rm -rf "$2"`,
		"sh", filepath.Join(programs, "postgres"), folder)
	server.SysProcAttr, server.Dir = as, folder
	alive, err := server.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := server.Start(); err != nil {
		return "", err
	}
	go func() { // which holds the pipe open as long as this process lives
		server.Wait()
		alive.Close()
	}()
	location := "postgres://assent@/postgres?host=" + url.QueryEscape(folder)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		connection, err := pgx.Connect(context.Background(), location)
		if err == nil {
			return location, connection.Close(context.Background())
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(folder, "log"))
			return "", fmt.Errorf("postgres does not start: %w: %s", err, log)
		}
	}
})

// installed gives the folder of the server's programs, the newest version first.
func installed() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", fmt.Errorf("PostgreSQL is not installed on this %s system", runtime.GOOS)
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}
