package wallet

import (
	"fmt"
	"os"
	"testing"
)

// children are the programs that tests start as processes of their own: this
// same binary, with the name of one in childVariable.
var children = map[string]func() error{}

const childVariable = "ASSENT_WALLET_TEST_CHILD"

func TestMain(m *testing.M) {
	name := os.Getenv(childVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := children[name](); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
