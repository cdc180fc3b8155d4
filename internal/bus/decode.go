package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// MaxRequest bounds a control request, in bytes.
const MaxRequest = 64 << 10

// DecodeRequest reads a request strictly: unknown fields are refused by name, and so is anything after the
// object. An empty request is the zero value. Errors wrap ErrRequest.
func DecodeRequest(data []byte, v any) error {
	if len(data) > MaxRequest {
		return fmt.Errorf("%w: %d bytes are more than %d", ErrRequest, len(data), MaxRequest)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) {
			return fmt.Errorf("%w: field %q: a JSON %s is not wanted here", ErrRequest, te.Field, te.Value)
		}
		return fmt.Errorf("%w: %s", ErrRequest, strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the JSON object", ErrRequest)
	}
	return nil
}
