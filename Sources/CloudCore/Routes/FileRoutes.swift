import HTTPTypes
import Hummingbird
import NIOCore
import WireText

/// Files: an id and URLs first, then the octets, streamed to and from the disk.
struct FileRoutes {
    let services: CoreServices

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.post("files") { _, context -> Response in
            let id = FileID.random()
            try await services.store.createFile(id.text, owner: context.user(), now: services.wall())
            return .json(.created) { json in
                json.member("id", id.text)
                json.member("uploadUrl", services.urls.file(id))
                json.member("downloadUrl", services.urls.file(id))
            }
        }
        router.put("files/:id") { request, context -> Response in try await upload(request, context) }
        router.get("files/:id") { _, context -> Response in
            let id = try fileID(context)
            let record = try await services.store.fileForDownload(id.text, by: context.user())
            let files = services.files
            return Response(
                status: .ok, headers: [.contentType: "application/octet-stream"],
                body: ResponseBody(contentLength: record.size.map(Int.init)) { writer in
                    let reader = try await files.read(id)
                    while let chunk = try await reader.next() { try await writer.write(chunk) }
                    try await writer.finish(nil)
                })
        }
    }

    private func upload(_ request: Request, _ context: CoreRequestContext) async throws -> Response {
        let id = try fileID(context)
        _ = try await services.store.fileForUpload(id.text, by: context.user())
        let tooLarge = Refusal(.tooLarge, "a file has at most \(FileStore.maximumFileBytes) octets")
        if let length = request.headers[.contentLength].flatMap({ Int64($0) }), length > FileStore.maximumFileBytes {
            throw tooLarge
        }
        guard let upload = try await services.files.beginUpload(id) else {
            throw Refusal(.conflict, "this file is being uploaded already")
        }
        var size: Int64 = 0
        do {
            for try await chunk in request.body {
                size += Int64(chunk.readableBytes)
                guard size <= FileStore.maximumFileBytes else { throw tooLarge }
                try await upload.write(chunk)
            }
        } catch {
            upload.abandon()
            throw error
        }
        let total = size
        try await upload.finish { try await services.store.completeFile(id.text, size: total) }
        return .json { $0.member("size", total) }
    }

    private func fileID(_ context: CoreRequestContext) throws(Refusal) -> FileID {
        guard let id = FileID(try context.id()) else { throw Refusal(.notFound, "there is no such file") }
        return id
    }
}
