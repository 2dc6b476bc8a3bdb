package consent

import (
	"crypto"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/go-jose/go-jose/v4"
)

// Binding gives what ties an access to a DPoP key (RFC 9449): the SHA-256
// thumbprint (RFC 7638) of its public key, a JWK in JSON.
func Binding(jwk []byte) (common.Hash, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON(jwk); err != nil {
		return common.Hash{}, fmt.Errorf("read the JWK: %s", Quote(err.Error())) // it may repeat the JWK's text
	}
	if !key.IsPublic() {
		return common.Hash{}, errors.New("the JWK is not a public key: leave its private part out")
	}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return common.Hash{}, fmt.Errorf("thumbprint of the JWK: %w", err)
	}
	return common.Hash(thumbprint), nil
}
