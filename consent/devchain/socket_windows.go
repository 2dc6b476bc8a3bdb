package devchain

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strings"

	"github.com/Microsoft/go-winio"
)

// endpoint is the named pipe where the owner of dir listens. File names there do not tell capitals.
func endpoint(dir string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(dir)))
	return `\\.\pipe\assent-` + hex.EncodeToString(sum[:16])
}

// listen opens the pipe of dir, for its owner alone.
func listen(dir string) (net.Listener, error) {
	return winio.ListenPipe(endpoint(dir), &winio.PipeConfig{SecurityDescriptor: "D:P(A;;GA;;;OW)"})
}
