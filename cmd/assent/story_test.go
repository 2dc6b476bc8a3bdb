package main

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/rpc"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/zalando/go-keyring"

	"github.com/assent-wallet/assent/consent/registry/anviltest"
	"github.com/assent-wallet/assent/wallet"
)

// The stories run this program as its users do: patient, clinic, hospital and
// attacker, each with a wallet of their own. Their keyring is one in memory,
// which outlives a command in a file; TestSecretService uses a real one.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"assent": func() { os.Exit(withKeyring(func() int { return run(os.Args[1:]) })) },
	})
}

// keyringFile names the file that stands for the keyring in stories; where it
// is not set, the keyring is the system's.
const keyringFile = "ASSENT_STORY_KEYRING"

func withKeyring(do func() int) int {
	path := os.Getenv(keyringFile)
	if path == "" {
		return do()
	}
	keyring.MockInit()
	secrets := map[string]string{}
	if text, err := os.ReadFile(path); err == nil {
		if err := json.Unmarshal(text, &secrets); err != nil {
			panic(err)
		}
	}
	for name, secret := range secrets {
		if err := keyring.Set("assent", name, secret); err != nil {
			panic(err)
		}
	}
	before := maps.Clone(secrets)
	code := do()
	settings, err := wallet.DefaultHome().Settings()
	if err != nil {
		return code // the story is about broken settings
	}
	for name := range settings.Wallets {
		if secret, err := keyring.Get("assent", name); err == nil {
			secrets[name] = secret
		}
	}
	if maps.Equal(before, secrets) {
		return code
	}
	// A story may kill the command: the file is always whole.
	text, err := json.Marshal(secrets)
	if err == nil {
		err = os.WriteFile(path+".new", text, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		panic(err)
	}
	return code
}

func required(component string) bool {
	return slices.Contains(strings.Split(os.Getenv("ASSENT_TEST_REQUIRE"), ","), component)
}

// dataFolder is where the FHIR bundles are that the repository does not hold.
func dataFolder() string {
	if folder := os.Getenv("ASSENT_DATA"); folder != "" {
		return folder
	}
	folder, err := filepath.Abs(filepath.Join("..", "..", "..", "shared", "data"))
	if err != nil {
		return ""
	}
	return folder
}

func TestStories(t *testing.T) {
	anvil := anviltest.Program(t)
	fhirServer := fhirServerScript()
	if fhirServer == "" && required("fhir-server") {
		t.Fatal("a FHIR server is required and not here: npm ci --prefix consent/gateway/testdata/fhirserver")
	}
	_, err := os.Stat(filepath.Join(dataFolder(), "synthea"))
	if err != nil && required("data") {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "stories"),
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			for name, folder := range map[string]string{
				"HOME": "home", "XDG_CONFIG_HOME": "config", "XDG_DATA_HOME": "data", "XDG_RUNTIME_DIR": "run",
			} {
				path := filepath.Join(e.WorkDir, "."+folder)
				if err := os.Mkdir(path, 0o700); err != nil {
					return err
				}
				e.Setenv(name, path)
			}
			e.Setenv(keyringFile, filepath.Join(e.WorkDir, ".keyring.json"))
			e.Setenv("DATA", dataFolder())
			e.Setenv("ANVIL", anvil)
			e.Setenv("TERM", "xterm")
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "data":
				return err == nil, nil
			case "anvil":
				return anvil != "", nil
			case "fhir-server":
				return fhirServer != "", nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit":   exitCmd,
			"poll":   pollCmd,
			"alter":  alterCmd,
			"counts": countsCmd,
			"field":  fieldCmd,
			"anvil":  anvilCmd,
			"fhir":   fhirCmd,
			"mute":   muteCmd,
			"port":   portCmd,
			"poor":   poorCmd,
			"record": recordCmd,
			"sql":    sqlCmd,
			"rich":   richCmd,
			"get":    getCmd,
		},
	})
}

// exitCmd runs a command and requires an exit code: exit 3 assent verify a.json
func exitCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit code command…")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		code = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	if code != 0 {
		errorsOf(ts)
	}
}

// errorsOf requires what every error of the program is: one line, by its name.
func errorsOf(ts *testscript.TestScript) {
	lines := strings.Split(strings.TrimRight(ts.ReadFile("stderr"), "\n"), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "assent: ") || strings.HasSuffix(last, ".") {
		ts.Fatalf("the error is not one line as it should be: %q", last)
	}
}

// pollCmd runs a command until its output matches: poll Expired assent verify a.json
func pollCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: poll pattern command…")
	}
	pattern := regexp.MustCompile(args[0])
	deadline := time.After(30 * time.Second)
	for {
		_ = ts.Exec(args[1], args[2:]...)
		if pattern.MatchString(ts.ReadFile("stdout") + ts.ReadFile("stderr")) {
			return
		}
		select {
		case <-deadline:
			ts.Fatalf("%v never said %s", args[1:], args[0])
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// alterCmd replaces the first match in a file: alter a.json '"expires":\d+' '"expires":1'
func alterCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: alter from to pattern replacement")
	}
	text := ts.ReadFile(args[0])
	at := regexp.MustCompile(args[2]).FindStringIndex(text)
	if at == nil {
		ts.Fatalf("%s does not match %s", args[0], args[2])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text[:at[0]]+args[3]+text[at[1]:]), 0o600))
}

// countsCmd requires the resources of a bundle, by type and all of them: counts labs.json Observation=5
func countsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: counts bundle type=number…")
	}
	var bundle struct {
		Entry []struct {
			Resource struct{ ResourceType string }
		}
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &bundle))
	counts := map[string]int{}
	for _, entry := range bundle.Entry {
		counts[entry.Resource.ResourceType]++
	}
	var got []string
	for kind, n := range counts {
		got = append(got, fmt.Sprintf("%s=%d", kind, n))
	}
	want := slices.Clone(args[1:])
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		ts.Fatalf("%s has %v, want %v", args[0], got, want)
	}
}

// fieldCmd puts a member of a JSON document into a variable: field ADDRESS card.json card.account
func fieldCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field variable document path")
	}
	var value any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &value))
	for name := range strings.SplitSeq(args[2], ".") {
		if list, ok := value.([]any); ok {
			i, err := strconv.Atoi(name)
			ts.Check(err)
			value = list[i]
			continue
		}
		object, ok := value.(map[string]any)
		if !ok {
			ts.Fatalf("%s has no %s", args[1], args[2])
		}
		value = object[name]
	}
	ts.Setenv(args[0], fmt.Sprint(value))
}

// fhirServerScript finds the FHIR server of package gateway, with what npm
// installs for it.
func fhirServerScript() string {
	folder, err := filepath.Abs(filepath.Join("..", "..", "consent", "gateway", "testdata", "fhirserver"))
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "@medplum")); err != nil {
		return ""
	}
	if _, err := exec.LookPath("node"); err != nil {
		return ""
	}
	return filepath.Join(folder, "server.mjs")
}

// recordCmd writes a patient's record as a batch: record p1.json p1 120
// makes the Patient p1 with 120 laboratory results and one condition.
func recordCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: record file patient results")
	}
	patient := args[1]
	results, err := strconv.Atoi(args[2])
	ts.Check(err)
	var entries []any
	add := func(kind, id string, resource map[string]any) {
		resource["resourceType"], resource["id"] = kind, id
		entries = append(entries, map[string]any{"resource": resource, "request": map[string]string{"method": "PUT", "url": kind + "/" + id}})
	}
	code := func(system, code string) any {
		return map[string]any{"coding": []any{map[string]string{"system": system, "code": code}}}
	}
	subject := map[string]string{"reference": "Patient/" + patient}
	add("Patient", patient, map[string]any{"birthDate": "1950-01-01"})
	for i := range results {
		add("Observation", fmt.Sprintf("%s-%d", patient, i+1), map[string]any{
			"status": "final", "subject": subject, "effectiveDateTime": "2026-01-02", "code": code("http://loinc.org", "2093-3"),
			"category": []any{code("http://terminology.hl7.org/CodeSystem/observation-category", "laboratory")},
		})
	}
	add("Condition", patient+"-c", map[string]any{"subject": subject, "code": code("http://snomed.info/sct", "38341003")})
	text, err := json.Marshal(map[string]any{"resourceType": "Bundle", "type": "batch", "entry": entries})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// fhirCmd starts a FHIR server with records and puts its URL into a variable:
// fhir URL record.json
func fhirCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fhir variable record…")
	}
	ctx, cancel := context.WithCancel(context.Background())
	script := fhirServerScript()
	command := []string{script}
	for _, record := range args[1:] {
		command = append(command, ts.MkAbs(record))
	}
	cmd := exec.CommandContext(ctx, "node", command...)
	cmd.Dir = filepath.Dir(script)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cancel()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	ts.Setenv(args[0], strings.TrimSpace(line))
}

// sqlCmd changes an SQLite file behind the back of its owner: sql gateway.db 'DELETE FROM …'
func sqlCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sql file statement")
	}
	db, err := sql.Open("sqlite", ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	done, err := db.Exec(args[1])
	ts.Check(err)
	if n, err := done.RowsAffected(); err != nil || n == 0 {
		ts.Fatalf("it changes nothing: %v", err)
	}
}

// anvilCmd starts anvil and puts its URL into a variable: anvil URL --chain-id 7
func anvilCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: anvil variable flag…")
	}
	port := freePort(ts)
	ctx, cancel := context.WithCancel(context.Background())
	flags := append([]string{"--port", port, "--silent", "--cache-path", ts.MkAbs(".anvil")}, args[1:]...)
	cmd := exec.CommandContext(ctx, ts.Getenv("ANVIL"), flags...)
	cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cancel()
		_ = cmd.Wait()
	})
	deadline := time.After(20 * time.Second)
	for {
		conn, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			conn.Close()
			break
		}
		select {
		case <-deadline:
			ts.Fatalf("anvil does not listen: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	ts.Setenv(args[0], "http://127.0.0.1:"+port)
}

func freePort(ts *testscript.TestScript) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	ts.Check(err)
	return port
}

// portCmd puts a port that is free into a variable.
func portCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port variable")
	}
	ts.Setenv(args[0], freePort(ts))
}

// poorCmd takes all coins from the accounts that anvil lends: poor $URL
func poorCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: poor url")
	}
	client, err := rpc.Dial(args[0])
	ts.Check(err)
	defer client.Close()
	var accounts []string
	ts.Check(client.Call(&accounts, "eth_accounts"))
	for _, account := range accounts {
		ts.Check(client.Call(nil, "anvil_setBalance", account, "0x0"))
	}
}

// richCmd gives an account coins on anvil: rich $URL $ADDRESS
func richCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: rich url address")
	}
	client, err := rpc.Dial(args[0])
	ts.Check(err)
	defer client.Close()
	ts.Check(client.Call(nil, "anvil_setBalance", args[1], "0x8ac7230489e80000"))
}

// getCmd puts what an HTTP service answers into a file: get http://127.0.0.1:1/metrics metrics.txt
func getCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: get url file")
	}
	response, err := http.Get(args[0])
	ts.Check(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), text, 0o600))
}

// muteCmd puts the URL of an endpoint that never answers into a variable.
func muteCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mute variable")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { listener.Close() })
	ts.Setenv(args[0], "http://"+listener.Addr().String())
}
