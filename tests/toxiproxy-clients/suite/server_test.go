// Stands in for the part of Toxiproxy's tests of its API that starts a server in their own process: they ask the one
// that listens on port 8475 already, and leave it without proxies.
package toxiproxy_test

import "testing"

func WithServer(t *testing.T, ask func(string)) {
	defer func() {
		proxies, err := client.Proxies()
		if err != nil {
			t.Fatal(err)
		}
		for _, proxy := range proxies {
			if err := proxy.Delete(); err != nil {
				t.Error(err)
			}
		}
	}()
	ask("http://localhost:8475")
}
