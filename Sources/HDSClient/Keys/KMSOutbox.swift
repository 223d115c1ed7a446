/// Sends wrapped strings in the order in which they were handed over, those that wait together in one request.
actor KMSOutbox {
    static let maximumBatch = 50
    static let maximumOctets = 512 << 10

    private let send: @Sendable ([String]) async throws -> Void
    private var waiting: [(text: String, done: Awaited<Result<Void, any Error>>)] = []
    private var isSending = false

    init(_ send: @escaping @Sendable ([String]) async throws -> Void) { self.send = send }

    /// Hands over; the answer tells when and whether the core took it.
    func enqueue(_ text: String) -> Awaited<Result<Void, any Error>> {
        let done = Awaited<Result<Void, any Error>>()
        waiting.append((text, done))
        if !isSending {
            isSending = true
            Task { await drain() }
        }
        return done
    }

    private func drain() async {
        while !waiting.isEmpty {
            var octets = 0
            var count = 0
            for entry in waiting.prefix(Self.maximumBatch) {
                octets += entry.text.utf8.count
                guard count == 0 || octets <= Self.maximumOctets else { break }
                count += 1
            }
            let batch = waiting.prefix(count)
            waiting.removeFirst(count)
            let result: Result<Void, any Error>
            do {
                try await send(batch.map(\.text))
                result = .success(())
            } catch {
                result = .failure(error)
            }
            for entry in batch { entry.done.fulfil(result) }
        }
        isSending = false
    }
}
