import Foundation
import HDSClient
import KMSClient
import KMSProtocol
import SecretMemory

/// People who make keys and read them back without a pause, and remember every one that was acknowledged.
final class KeyLoad: Sendable {
    private actor Book {
        var keys: [(person: Int, uri: String, octets: [UInt8])] = []
        var requests = 0
        var failures: [String] = []
        /// When each answer came, and how long it took.
        var answers: [(at: ContinuousClock.Instant, took: Duration)] = []
        var isOver = false

        func acknowledged(_ key: KMSKey, by person: Int) {
            keys.append((person, key.uri, key.key.withUnsafeBytes { Array($0) }))
        }
        func answered(_ took: Duration) {
            requests += 1
            answers.append((.now, took))
        }
        func failed(_ what: String) {
            requests += 1
            failures.append(what)
        }
        func end() { isOver = true }
        func random() -> (person: Int, uri: String, octets: [UInt8])? { keys.randomElement() }
    }

    private let people: [Person]
    private let book = Book()
    private let work: Task<Void, Never>

    /// Begins at once.
    init(_ people: [Person]) {
        self.people = people
        let book = book
        work = Task {
            await withTaskGroup(of: Void.self) { group in
                for (index, person) in people.enumerated() {
                    group.addTask { await Self.work(person, index, book) }
                }
            }
        }
    }

    private static func work(_ person: Person, _ index: Int, _ book: Book) async {
        while await !book.isOver {
            let start = ContinuousClock.now
            do {
                guard case .keys(let keys) = try await person.client.kms.perform(.createKeys(count: 1)).body,
                    let key = keys.first
                else {
                    await book.failed("no key in the answer")
                    continue
                }
                await book.answered(start.duration(to: .now))
                await book.acknowledged(key, by: index)
                _ = try await person.client.kms.perform(.retrieveKey(key.uri))
                await book.answered(start.duration(to: .now))
            } catch {
                await book.failed("\(error)")
            }
        }
    }

    var requests: Int { get async { await book.requests } }
    var failures: [String] { get async { await book.failures } }
    var acknowledged: Int { get async { await book.keys.count } }

    /// The first answer after a moment.
    func answer(after moment: ContinuousClock.Instant) async -> ContinuousClock.Instant? {
        await book.answers.first { $0.at > moment && $0.at - $0.took > moment }?.at
    }

    /// The longest that anybody waited for an answer that came.
    var longest: Duration { get async { await book.answers.map(\.took).max() ?? .zero } }

    func stop() async {
        await book.end()
        await work.value
    }

    /// Asks for every key that was acknowledged; how many are not there, or are not the same.
    func missing() async throws -> Int {
        var missing = 0
        for entry in await book.keys {
            let answer = try await people[entry.person].client.kms.ask(.retrieveKey(entry.uri))
            guard case .key(let key) = answer.body, key.key.withUnsafeBytes({ Array($0) }) == entry.octets else {
                missing += 1
                continue
            }
        }
        return missing
    }
}
