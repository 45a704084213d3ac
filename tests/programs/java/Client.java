// HTTPS client over JSSE: carries out a plan of calls (see ../client.py), its connections side by side.
//   Client http1|http2|urlconnection PLAN.json
// http1 and http2 are java.net.http's client, over SSLEngine; urlconnection is HttpsURLConnection, over SSLSocket.
// With PLAINSPAN_WAIT=1 it first waits until this process is captured.

import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public final class Client {
    private final Map<String, Object> plan;
    private final SSLContext tls;

    private Client(Map<String, Object> plan) throws Exception {
        this.plan = plan;
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        try (InputStream file = new FileInputStream((String) plan.get("ca"))) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        tls = SSLContext.getInstance("TLS");
        tls.init(null, trust.getTrustManagers(), null);
    }

    @SuppressWarnings("unchecked")
    public static void main(String[] arguments) throws Exception {
        if ("1".equals(System.getenv("PLAINSPAN_WAIT"))) {
            Waiting.untilCaptured();
        }
        String text = Files.readString(Path.of(arguments[1]));
        Client client = new Client((Map<String, Object>) new Json(text).value());
        List<Callable<Void>> all = new ArrayList<>();
        for (Object calls : (List<Object>) client.plan.get("connections")) {
            all.add(() -> {
                client.connection(arguments[0], (List<Map<String, Object>>) calls);
                return null;
            });
        }
        ExecutorService threads = Executors.newFixedThreadPool(all.size());
        for (Future<Void> done : threads.invokeAll(all)) {
            done.get();
        }
        System.out.flush();
        System.exit(0);
    }

    private void connection(String how, List<Map<String, Object>> calls) throws Exception {
        if (how.equals("urlconnection")) {
            for (Map<String, Object> call : calls) {
                urlConnection(call);
            }
            return;
        }
        boolean two = how.equals("http2");
        HttpClient client = HttpClient.newBuilder()
                .sslContext(tls)
                .version(two ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1)
                .build();
        int atOnce = two ? 5 : 1;
        for (int at = 0; at < calls.size(); at += atOnce) {
            // The first call makes the connection.
            int until = at == 0 ? 1 : Math.min(at + atOnce, calls.size());
            List<CompletableFuture<Void>> some = new ArrayList<>();
            for (Map<String, Object> call : calls.subList(at, until)) {
                CompletableFuture<HttpResponse<byte[]>> answer =
                        client.sendAsync(request(call), HttpResponse.BodyHandlers.ofByteArray());
                some.add(answer.thenAccept(a -> report(call, a.statusCode(), a.body())));
            }
            for (CompletableFuture<Void> done : some) {
                done.get();
            }
            if (at == 0) {
                at = until - atOnce;
            }
        }
    }

    private HttpRequest request(Map<String, Object> call) throws IOException {
        byte[] body = body(call);
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(plan.get("base") + (String) call.get("target")));
        request.method((String) call.get("method"), body == null
                ? HttpRequest.BodyPublishers.noBody()
                : HttpRequest.BodyPublishers.ofByteArray(body));
        headers(call).forEach((name, value) -> request.header(name, (String) value));
        return request.build();
    }

    private void urlConnection(Map<String, Object> call) throws IOException {
        URL url = new URL(plan.get("base") + (String) call.get("target"));
        HttpsURLConnection connection = (HttpsURLConnection) url.openConnection();
        connection.setSSLSocketFactory(tls.getSocketFactory());
        connection.setRequestMethod((String) call.get("method"));
        headers(call).forEach((name, value) -> connection.setRequestProperty(name, (String) value));
        byte[] body = body(call);
        if (body != null) {
            connection.setDoOutput(true);
            connection.setFixedLengthStreamingMode(body.length);
            try (OutputStream out = connection.getOutputStream()) {
                out.write(body);
            }
        }
        try (InputStream in = connection.getInputStream()) {
            report(call, connection.getResponseCode(), in.readAllBytes());
        }
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> headers(Map<String, Object> call) {
        return (Map<String, Object>) call.get("headers");
    }

    private static byte[] body(Map<String, Object> call) throws IOException {
        String file = (String) call.get("body");
        return file == null ? null : Files.readAllBytes(Path.of(file));
    }

    private void report(Map<String, Object> call, int status, byte[] body) {
        int index = ((Double) call.get("index")).intValue();
        try {
            Files.write(Path.of(plan.get("out") + "/" + index), body);
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
        System.out.println("{\"index\": " + index + ", \"status\": " + status + ", \"local_port\": 0}");
    }
}
