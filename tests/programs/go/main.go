// HTTPS server and client of Go's own library, for HTTP/1.1 and HTTP/2.
//
//	main server ADDRESS PORT CERT KEY [wrapped|piped]   prints "ready" when it listens
//	main client 1.1|2 PLAN.json                         carries out a plan of calls (see client.py)
//
// The server answers GET with what was asked, of /bytes/N with N bytes, POST to a path with /echo/ with the body that
// came, any other POST with its length and SHA-256. `wrapped`: between TLS and the socket is a type of its own; `piped`: and other goroutines.
//
// Each list of calls of a plan goes over one kept-open connection, all lists side by side.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"strings"
	"sync"
)

func main() {
	var err error
	switch {
	case len(os.Args) >= 6 && os.Args[1] == "server":
		err = serve(os.Args[2]+":"+os.Args[3], os.Args[4], os.Args[5], append(os.Args[6:], "")[0])
	case len(os.Args) == 4 && os.Args[1] == "client":
		err = perform(os.Args[2], os.Args[3])
	default:
		err = errors.New("usage: main server ADDRESS PORT CERT KEY [wrapped|piped] | main client 1.1|2 PLAN.json")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func answer(response http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		log.Print(err)
		return
	}
	text := []byte(fmt.Sprintf("asked %s %s\n", request.Method, request.URL.RequestURI()))
	if strings.HasPrefix(request.URL.Path, "/bytes/") {
		number, err := strconv.Atoi(strings.TrimPrefix(request.URL.Path, "/bytes/"))
		if err != nil {
			log.Print(err)
			return
		}
		text = bytes.Repeat([]byte("x"), number)
	}
	if request.Method == http.MethodPost {
		text = []byte(fmt.Sprintf("%d %x\n", len(body), sha256.Sum256(body)))
		if strings.Contains(request.URL.Path, "/echo/") {
			text = body
		}
	}
	response.Header().Set("x-server", "go")
	response.Header().Set("content-type", "application/octet-stream")
	response.Header().Set("content-length", fmt.Sprint(len(text)))
	if _, err := response.Write(text); err != nil {
		log.Print(err)
	}
}

func serve(address, cert, key, how string) error {
	plain, err := net.Listen("tcp4", address)
	if err != nil {
		return err
	}
	if how != "" {
		plain = listener{plain, how}
	}
	fmt.Println("ready")
	server := http.Server{Handler: http.HandlerFunc(answer)}
	return server.ServeTLS(plain, cert, key)
}

type listener struct {
	net.Listener
	how string
}

func (l listener) Accept() (net.Conn, error) {
	plain, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	between := &wrapped{name: "between", Conn: plain}
	if l.how == "piped" {
		between.Conn = piped(plain)
	}
	return between, nil
}

// What is before the connection in it is no pointer, and no number that is a file descriptor's.
type wrapped struct {
	name string
	net.Conn
	read, written int
}

func (w *wrapped) Read(to []byte) (int, error) {
	n, err := w.Conn.Read(to)
	w.read += n
	return n, err
}

func (w *wrapped) Write(from []byte) (int, error) {
	n, err := w.Conn.Write(from)
	w.written += n
	return n, err
}

// One end of a pipe whose other end two goroutines join to the connection.
func piped(plain net.Conn) net.Conn {
	near, far := net.Pipe()
	join := func(to, from net.Conn) {
		if _, err := io.Copy(to, from); err != nil && !errors.Is(err, io.ErrClosedPipe) && !errors.Is(err, net.ErrClosed) {
			log.Print(err)
		}
		to.Close()
		from.Close()
	}
	go join(far, plain)
	go join(plain, far)
	return near
}

type call struct {
	Index   int
	Method  string
	Target  string
	Headers map[string]string
	Body    *string
}

type plan struct {
	Base        string
	CA          string
	Out         string
	Connections [][]call
}

func perform(version, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var plan plan
	if err := json.Unmarshal(text, &plan); err != nil {
		return err
	}
	pem, err := os.ReadFile(plan.CA)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return errors.New("no certificate in " + plan.CA)
	}
	var all sync.WaitGroup
	failed := make(chan error, len(plan.Connections))
	for _, calls := range plan.Connections {
		all.Add(1)
		go func(calls []call) {
			defer all.Done()
			failed <- connection(&plan, pool, version, calls)
		}(calls)
	}
	all.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

func connection(plan *plan, pool *x509.CertPool, version string, calls []call) error {
	dialer := net.Dialer{}
	transport := &http.Transport{
		MaxConnsPerHost:    1,
		DisableCompression: true,
		ForceAttemptHTTP2:  version == "2",
		TLSClientConfig:    &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp4", address)
		},
	}
	if version != "2" {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport}
	for _, call := range calls {
		if err := one(plan, &client, call); err != nil {
			return err
		}
	}
	return nil
}

var output sync.Mutex

func one(plan *plan, client *http.Client, call call) error {
	var body io.Reader
	if call.Body != nil {
		bytesOf, err := os.ReadFile(*call.Body)
		if err != nil {
			return err
		}
		body = bytes.NewReader(bytesOf)
	}
	port := 0
	trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) {
		port = got.Conn.LocalAddr().(*net.TCPAddr).Port
	}}
	ctx := httptrace.WithClientTrace(context.Background(), trace)
	request, err := http.NewRequestWithContext(ctx, call.Method, plan.Base+call.Target, body)
	if err != nil {
		return err
	}
	for name, value := range call.Headers {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if err := os.WriteFile(fmt.Sprintf("%s/%d", plan.Out, call.Index), content, 0o600); err != nil {
		return err
	}
	output.Lock()
	defer output.Unlock()
	fmt.Printf("{\"index\": %d, \"status\": %d, \"local_port\": %d}\n", call.Index, response.StatusCode, port)
	return nil
}
