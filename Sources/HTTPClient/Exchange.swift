import Diagnostics
import NIOCore
import NIOHTTP1
import WebSocketChannel

/// One request and its response on one connection. Used on the connection's event loop only.
final class Exchange {
    /// How the body of the request comes.
    enum Body {
        case bytes([UInt8])
        /// By `ClientConnection.writeBody`, this many octets.
        case streamed(Int)
    }

    /// Why there is no response.
    enum Failure: Error {
        /// Nothing of the request has left this machine: any request may be sent again.
        case notSent(DiagnosedError)
        /// The connection had been idle and ended before a single octet of the response.
        case stale(DiagnosedError)
        case failed(DiagnosedError)

        var error: DiagnosedError {
            switch self {
            case .notSent(let error), .stale(let error), .failed(let error): error
            }
        }
    }

    /// Unlike that of any other exchange of the connection.
    let id: UInt64
    let head: HTTPRequestHead
    let body: Body
    let maximumResponseBytes: Int
    /// Told the response; of a streamed one the head, as soon as it is there.
    let promise: EventLoopPromise<WebResponse>
    /// Takes the body of a 2xx response instead of the memory. Any thread.
    let sink: InboundQueue<ByteBuffer>?

    private var response = WebResponse(status: 0)
    private var receivedBytes = 0
    private(set) var hasResponse = false
    private(set) var isStreaming = false
    private(set) var keepsAlive = false

    init(
        id: UInt64, head: HTTPRequestHead, body: Body, maximumResponseBytes: Int,
        promise: EventLoopPromise<WebResponse>, sink: InboundQueue<ByteBuffer>?
    ) {
        self.id = id
        self.head = head
        self.body = body
        self.maximumResponseBytes = maximumResponseBytes
        self.promise = promise
        self.sink = sink
    }

    func receive(_ head: HTTPResponseHead) throws(DiagnosedError) {
        hasResponse = true
        guard head.status != .switchingProtocols else {
            throw DiagnosedError(
                .httpResponseInvalid, fault: .peer, "the server changed the protocol unasked", found: "status 101")
        }
        keepsAlive = head.isKeepAlive
        response.status = Int(head.status.code)
        response.headers = head.headers.map { ($0.name, $0.value) }
        if let announced = head.headers.first(name: "content-length").flatMap({ Int($0) }), self.head.method != .HEAD {
            guard announced <= maximumResponseBytes else { throw tooLarge("\(announced)") }
            if sink == nil { response.body.reserveCapacity(min(announced, 1 << 20)) }
        }
        if sink != nil, (200..<300).contains(response.status) {
            isStreaming = true
            promise.succeed(response)
        }
    }

    /// False: stop reading until the sink has room.
    func receive(_ part: ByteBuffer) throws(DiagnosedError) -> Bool {
        receivedBytes += part.readableBytes
        guard receivedBytes <= maximumResponseBytes else { throw tooLarge("more") }
        if isStreaming, let sink { return sink.push(part, cost: part.readableBytes) }
        response.body.append(contentsOf: part.readableBytesView)
        return true
    }

    func complete() {
        if isStreaming { sink?.finish() } else { promise.succeed(response) }
    }

    func fail(_ failure: Failure) {
        if isStreaming { sink?.finish(throwing: failure) } else { promise.fail(failure) }
    }

    private func tooLarge(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .httpResponseTooLarge, fault: .peer, "the answer is too long",
            expected: "at most \(maximumResponseBytes) octets", found: found)
    }
}
