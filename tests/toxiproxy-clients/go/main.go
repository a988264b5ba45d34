// Toxiproxy's own Go client through its main flows. Usage: go-client API_URL
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2/client"
)

const patience = 10 * time.Second

func main() {
	if err := flows(os.Args[1], echoServer()); err != nil {
		fmt.Fprintln(os.Stderr, "the Go client:", err)
		os.Exit(1)
	}
	fmt.Println("Toxiproxy's Go client: every flow")
}

func flows(url, upstream string) error {
	client := toxiproxy.NewClient(url)
	left, err := client.Proxies()
	if err != nil {
		return err
	}
	for _, proxy := range left {
		if err := proxy.Delete(); err != nil {
			return err
		}
	}
	proxy, err := client.CreateProxy("echo", "127.0.0.1:0", upstream)
	if err != nil {
		return err
	}
	if !proxy.Enabled || proxy.Upstream != upstream || strings.HasSuffix(proxy.Listen, ":0") {
		return fmt.Errorf("created as %+v", proxy)
	}
	steps := []func() error{
		func() error { return echoes(proxy.Listen) },
		func() error {
			return fails(second(client.CreateProxy("echo", "127.0.0.1:0", upstream)), "HTTP 409: proxy already exists")
		},
		func() error { return fails(second(client.Proxy("nobody")), "HTTP 404: proxy not found") },
		proxy.Disable,
		func() error { return refused(proxy.Listen) },
		proxy.Enable,
		func() error { return echoes(proxy.Listen) },
		func() error { return latency(proxy) },
		func() error { return limit(client, proxy) },
		func() error { return populate(client, proxy, upstream) },
		proxy.Delete,
		func() error { return refused(proxy.Listen) },
	}
	for number, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", number+1, err)
		}
	}
	return nil
}

func latency(proxy *toxiproxy.Proxy) error {
	toxic, err := proxy.AddToxic("slow", "latency", "downstream", 1, toxiproxy.Attributes{"latency": 200})
	if err != nil {
		return err
	}
	if toxic.Attributes["latency"] != 200.0 || toxic.Attributes["jitter"] != 0.0 || toxic.Toxicity != 1 {
		return fmt.Errorf("the toxic is %+v", toxic)
	}
	begun := time.Now()
	if err := echoes(proxy.Listen); err != nil {
		return err
	}
	if took := time.Since(begun); took < 200*time.Millisecond {
		return fmt.Errorf("200 ms took %v", took)
	}
	toxic, err = proxy.UpdateToxic("slow", 0.5, toxiproxy.Attributes{"latency": 1})
	if err != nil {
		return err
	}
	if toxic.Attributes["latency"] != 1.0 || toxic.Toxicity != 0.5 {
		return fmt.Errorf("updated, it is %+v", toxic)
	}
	if err := proxy.RemoveToxic("slow"); err != nil {
		return err
	}
	return fails(proxy.RemoveToxic("slow"), "HTTP 404: toxic not found")
}

func limit(client *toxiproxy.Client, proxy *toxiproxy.Proxy) error {
	options := toxiproxy.ToxicOptions{
		ProxyName: "echo", ToxicType: "limit_data", Stream: "downstream", Toxicity: 1,
		Attributes: toxiproxy.Attributes{"bytes": 3},
	}
	if _, err := client.AddToxic(&options); err != nil {
		return err
	}
	got, err := ask(proxy.Listen)
	if err != nil || got != "hel" {
		return fmt.Errorf("a limit of 3 bytes let %q through: %w", got, err)
	}
	toxics, err := proxy.Toxics()
	if err != nil || len(toxics) != 1 || toxics[0].Name != "limit_data_downstream" {
		return fmt.Errorf("listed are %+v: %w", toxics, err)
	}
	if err := client.ResetState(); err != nil {
		return err
	}
	return echoes(proxy.Listen)
}

func populate(client *toxiproxy.Client, proxy *toxiproxy.Proxy, upstream string) error {
	both, err := client.Populate([]toxiproxy.Proxy{
		{Name: "echo", Listen: proxy.Listen, Upstream: upstream, Enabled: true},
		{Name: "second", Listen: "127.0.0.1:0", Upstream: upstream, Enabled: true},
	})
	if err != nil || len(both) != 2 {
		return fmt.Errorf("populated are %+v: %w", both, err)
	}
	if err := echoes(both[1].Listen); err != nil {
		return err
	}
	return both[1].Delete()
}

func fails(err error, wanted string) error {
	if err == nil || !strings.Contains(err.Error(), wanted) {
		return fmt.Errorf("%q was to fail with %q", err, wanted)
	}
	return nil
}

func second[T any](_ T, err error) error { return err }

func refused(address string) error {
	connection, err := net.DialTimeout("tcp", address, patience)
	if err == nil {
		connection.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s is open: %w", address, err)
	}
	return nil
}

func echoes(address string) error {
	got, err := ask(address)
	if err != nil || got != "hello" {
		return fmt.Errorf("the echo of hello is %q: %w", got, err)
	}
	return nil
}

// The echo of one word over a connection of its own: what came until all of it had, or the peer closed.
func ask(address string) (string, error) {
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return "", err
	}
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(connection, "hello"); err != nil {
		return "", err
	}
	got, err := io.ReadAll(io.LimitReader(connection, 5))
	return string(got), err
}

func echoServer() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				io.Copy(connection, connection)
			}()
		}
	}()
	return listener.Addr().String()
}
