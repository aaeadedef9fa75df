"""`mien serve`: pictures, videos and live cameras over HTTP and WebSocket, and the page for them.

May import FastAPI, Starlette, uvicorn, python-multipart, prometheus-client, av, and from mien:
everything up to the pipeline, and report. Needs the extra `server`.

A request goes through the rooms in this order: `connections.py` (sockets that stall), `access.py`
(who may ask), `app.py` (which address is answered by whom), `uploads.py` (what is sent), then
`pictures.py`, `live.py`, `videos.py` or `reports.py`, and all of them let `workers.py` compute.
`jobs.py` remembers videos across restarts and `job_runner.py` analyses them. `settings.py` holds
every limit, `serving.py` starts and ends it all.
"""
