package devchain

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
)

func TestServeOverHTTP(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	chain, err := Serve(deadline(t), dir, Options{HTTP: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer chain.Close()
	if !strings.HasPrefix(chain.URL(), "http://127.0.0.1:") {
		t.Fatalf("served at %q", chain.URL())
	}
	client, err := rpc.DialContext(deadline(t), chain.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	hash := send(t, chain, client)
	wantReceipts(t, client, hash)

	var sum hexutil.Bytes
	if err := client.Call(&sum, "web3_sha3", "0x"); err != nil || hexutil.Encode(sum) != "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470" {
		t.Errorf("web3_sha3: %s, %v", sum, err)
	}
	for _, method := range []string{"net_version", "web3_clientVersion", "eth_blockNumber"} {
		if err := client.Call(nil, method); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
	for _, reach := range []*rpc.Client{client, dialed(t, chain)} {
		for _, method := range []string{"admin_nodeInfo", "debug_setHead", "personal_listAccounts", "txpool_status", "miner_setGasPrice", "engine_forkchoiceUpdatedV3", "dev_setFeeRecipient"} {
			var unknown rpc.Error
			if err := reach.Call(nil, method, "0x0"); !errors.As(err, &unknown) || unknown.ErrorCode() != -32601 {
				t.Errorf("%s: %v, want an error that there is no such method", method, err)
			}
		}
	}

	post := func(host, origin string) (int, http.Header) {
		body := strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}`)
		request, err := http.NewRequestWithContext(deadline(t), http.MethodPost, chain.URL(), body)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Host = host
		if origin != "" {
			request.Header.Set("Origin", origin)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, response.Header
	}
	if status, _ := post("localhost", ""); status != http.StatusOK {
		t.Errorf("named localhost: status %d", status)
	}
	if status, _ := post("rebound.example", ""); status != http.StatusForbidden {
		t.Errorf("under a foreign name: status %d, want %d", status, http.StatusForbidden)
	}
	if _, header := post("localhost", "https://page.example"); header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("a web page may read answers")
	}

	// Another opener is served by this one, whose Close takes the HTTP address down.
	second := opened(t, dir)
	if second.Owner() || second.URL() != "" {
		t.Errorf("second: owner %v, URL %q", second.Owner(), second.URL())
	}
	if err := chain.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.CallContext(deadline(t), nil, "eth_blockNumber"); err == nil {
		t.Error("answers over HTTP after Close")
	}
}

func TestServeRefusesAddress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:8545"} {
		if chain, err := Serve(deadline(t), dir, Options{HTTP: address}); err == nil {
			t.Errorf("%s: served at %s, want a refusal", address, chain.URL())
			chain.Close()
		} else if !strings.Contains(err.Error(), "loopback") {
			t.Errorf("%s: %v, want a word on loopback", address, err)
		}
	}
	if _, err := Serve(deadline(t), dir, Options{HTTP: "127.0.0.1"}); err == nil {
		t.Error("served at an address without a port")
	}
	chain, err := Serve(deadline(t), dir, Options{HTTP: "0.0.0.0:0", AllowRemote: true})
	if err != nil {
		t.Fatal(err)
	}
	defer chain.Close()
	if _, err := Serve(deadline(t), t.TempDir(), Options{HTTP: strings.TrimPrefix(chain.URL(), "http://"), AllowRemote: true}); err == nil || !strings.Contains(err.Error(), "name another address") {
		t.Errorf("two chains at one address: %v", err)
	}
}
